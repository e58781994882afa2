"""Rows of features with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.arrow_types import plain
from tastemap.data.chunks import frame_arrays, frame_columns
from tastemap.data.columns import parse_positions, parse_values
from tastemap.errors import DataError
from tastemap.features.batch import FeatureBatch
from tastemap.features.frames import FrameEncoder

__all__ = ["Labelled", "RowColumns"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of features with what came of them.

    Attributes:
        features: [n].
        labels: float32 [n], 1 for a click and 0 for none; or [n, tasks], shares from 0 to 1.
        groups: [n], equal for rows of one request; None where that is not known.
        positions: int64 [n], from 1, the place at which each row was shown; 0 where that is not
            known, and None where it is known of no row.

    Raises:
        DataError: no rows, another number of labels, groups or positions than rows, a label that is
            not 0 or 1, a share outside 0 and 1, or a position below 0.
    """

    features: FeatureBatch
    labels: NDArray[np.float32]
    groups: NDArray[Any] | None = None
    positions: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.features) == 0:
            raise DataError("there are no rows")
        n = len(self.features)
        for name, given, expected in (
            ("labels", self.labels, (n, *self.labels.shape[1:2])),
            ("groups", self.groups, (n,)),
            ("positions", self.positions, (n,)),
        ):
            if given is not None and given.shape != expected:
                raise DataError(
                    f"{n} rows have {name} of shape {list(given.shape)}; give one a row"
                )
        self._check_labels()
        if self.positions is not None and self.positions.min() < 0:
            raise DataError(f"a position must be at least 0, and one is {self.positions.min()}")

    @classmethod
    def of(
        cls,
        features: FeatureBatch,
        labels: NDArray[Any],
        groups: NDArray[Any] | None = None,
        positions: NDArray[Any] | None = None,
    ) -> Labelled:
        """Rows with labels and positions of any dtype."""
        return cls(
            features,
            np.asarray(labels).astype(np.float32),
            None if groups is None else np.asarray(groups),
            None if positions is None else np.asarray(positions, np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Labelled]) -> Labelled:
        """The rows of all parts, which all have groups and positions or all have none, one after
        the other. A request is of one part: equal groups of two parts are two requests."""
        groups = [part.groups for part in parts if part.groups is not None]
        positions = [part.positions for part in parts if part.positions is not None]
        return cls(
            FeatureBatch.joined([part.features for part in parts]),
            np.concatenate([part.labels for part in parts]),
            _apart(groups) if groups else None,
            np.concatenate(positions) if positions else None,
        )

    def __len__(self) -> int:
        return len(self.features)

    def _check_labels(self) -> None:
        if self.labels.ndim == 1:
            wrong = (self.labels != 0) & (self.labels != 1)
            problem, remedy = (
                "a label must be 0 or 1",
                "Say from which value on a row counts as a click",
            )
        else:
            wrong = ~((self.labels >= 0) & (self.labels <= 1))
            problem, remedy = (
                "the label of a task must be from 0 to 1",
                "Divide it by its largest value",
            )
        if wrong.any():
            first = np.argwhere(wrong)[0]
            value = self.labels[tuple(first)].item()
            raise DataError(problem, row=int(first[0]) + 1, value=value, remedy=remedy)

    @property
    def worth(self) -> NDArray[np.float32]:
        """One number a row, float32 [n]: its label, or the mean of those of all tasks."""
        if self.labels.ndim == 1:
            return self.labels
        mean: NDArray[np.float32] = self.labels.mean(1, dtype=np.float32)
        return mean

    def of_task(self, task: int) -> Labelled:
        """The rows with the labels of one of several tasks alone, float32 [n, 1]."""
        return replace(self, labels=self.labels[:, task : task + 1])


def _apart(groups: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Groups of several parts as numbers, int64, of which no two parts share one."""
    numbers, first = [], 0
    for part in groups:
        found = np.unique(part, return_inverse=True)[1]
        numbers.append(first + found.astype(np.int64))
        first += int(found.max()) + 1
    return np.concatenate(numbers)


@dataclass(frozen=True)
class RowColumns:
    """Columns of frames that are no features but say what came of the rows.

    Attributes:
        labels: the column of labels, or one for each of several tasks.
        group: the column that is equal for rows of one request, or None.
        position: the column of places at which rows were shown, or None.
    """

    labels: str | Sequence[str]
    group: str | None = None
    position: str | None = None

    @property
    def names(self) -> list[str]:
        """Of all these columns."""
        labels = [self.labels] if isinstance(self.labels, str) else self.labels
        return [*labels, *(name for name in (self.group, self.position) if name is not None)]

    def labelled(self, frame: Any, encoder: FrameEncoder) -> Labelled:
        """The rows of a frame.

        Raises:
            DataError: it is no frame, or a column is missing or has a value that cannot be.
        """
        if isinstance(self.labels, str):
            labels = _labels_of(frame, self.labels)
        else:
            labels = np.stack([_labels_of(frame, name) for name in self.labels], 1)
        return Labelled(
            encoder.encode(frame),
            labels,
            None if self.group is None else _groups_of(frame, self.group),
            None if self.position is None else _positions_of(frame, self.position),
        )


def _labels_of(frame: Any, name: str) -> NDArray[np.float32]:
    """The column of labels, float32 [n]; whether they are 0 or 1 is looked at later.

    Raises:
        DataError: there is no such column, or a label is missing or no number.
    """
    labels, flaws = parse_values(_column(frame, name, "label"), name)
    for flaw in flaws:
        raise DataError(
            flaw.problem, row=int(flaw.rows.argmax()) + 1, column=name,
            remedy="Every row needs a label",
        )  # fmt: skip
    return labels


def _groups_of(frame: Any, name: str) -> NDArray[np.int64]:
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


def _positions_of(frame: Any, name: str) -> NDArray[np.int64]:
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
    names = frame_columns(frame)
    if name not in names:
        raise DataError(
            f"there is no column {name!r} among {', '.join(names) or 'none'}",
            remedy=f"Name the column with {argument}=",
        )
    return frame_arrays(frame, only=[name])[name]
