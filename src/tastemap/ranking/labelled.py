"""Rows of features with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.arrow_types import plain
from tastemap.data.chunks import frame_arrays
from tastemap.data.columns import parse_positions, parse_values
from tastemap.errors import DataError
from tastemap.features.batch import FeatureBatch

__all__ = ["Labelled", "groups_of", "labels_of", "positions_of"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of features with what came of them.

    Attributes:
        features: [n].
        labels: float32 [n], 1 for a click and 0 for none.
        groups: [n], equal for rows of one request; None where that is not known.
        positions: int64 [n], from 1, the place at which each row was shown; 0 where that is not
            known, and None where it is known of no row.

    Raises:
        DataError: no rows, another number of labels, groups or positions than rows, a label that is
            not 0 or 1, or a position below 0.
    """

    features: FeatureBatch
    labels: NDArray[np.float32]
    groups: NDArray[Any] | None = None
    positions: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.features) == 0:
            raise DataError("there are no rows")
        for name, given in (
            ("labels", self.labels), ("groups", self.groups), ("positions", self.positions)
        ):  # fmt: skip
            if given is not None and given.shape != (len(self.features),):
                raise DataError(
                    f"{len(self.features)} rows have {name} of shape {list(given.shape)}; "
                    "give one a row"
                )
        wrong = (self.labels != 0) & (self.labels != 1)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                "a label must be 0 or 1", row=row + 1, value=self.labels[row].item(),
                remedy="Say from which value on a row counts as a click",
            )  # fmt: skip
        if self.positions is not None and self.positions.min() < 0:
            raise DataError(f"a position must be at least 0, and one is {self.positions.min()}")

    def __len__(self) -> int:
        return len(self.features)


def labels_of(frame: Any, name: str) -> NDArray[np.float32]:
    """The column of labels, float32 [n]; whether they are 0 or 1 is looked at later.

    Raises:
        DataError: there is no such column, or a label is missing or no number.
    """
    labels, flaws = parse_values(_column(frame, name, "label"), name)
    for flaw in flaws:
        raise DataError(
            flaw.problem, row=int(flaw.rows.argmax()) + 1, column=name,
            remedy="Every row needs a label, 0 or 1",
        )  # fmt: skip
    return labels


def groups_of(frame: Any, name: str) -> NDArray[np.int64]:
    """The column that says which request a row belongs to, as numbers, int64 [n].

    Raises:
        DataError: there is no such column, a request is missing, or the column holds lists.
    """
    values = plain(_column(frame, name, "group"))
    if pa.types.is_nested(values.type):
        raise DataError(f"a request must be one value, not {values.type}", column=name)
    if values.null_count:
        row = int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        raise DataError(
            "the request is missing", row=row + 1, column=name, remedy="Every row needs one"
        )
    numbers: NDArray[np.int64] = values.dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers


def positions_of(frame: Any, name: str) -> NDArray[np.int64]:
    """The column of places at which rows were shown, from 1, int64 [n]; 0 where it is missing.

    Raises:
        DataError: there is no such column, or a place is not a whole number from 1.
    """
    values = _column(frame, name, "position")
    positions, flaws = parse_positions(values, name)
    for flaw in flaws:
        row = int(flaw.rows.argmax())
        raise DataError(
            flaw.problem, row=row + 1, column=name, value=values[row].as_py(), remedy=flaw.remedy
        )
    return positions


def _column(frame: Any, name: str, argument: str) -> pa.Array:
    arrays = frame_arrays(frame)
    if name not in arrays:
        raise DataError(
            f"there is no column {name!r} among {', '.join(arrays) or 'none'}",
            remedy=f"Name the column with {argument}=",
        )
    return arrays[name]
