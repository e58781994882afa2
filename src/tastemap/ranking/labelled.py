"""Rows of features with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.chunks import frame_arrays
from tastemap.data.columns import parse_values
from tastemap.errors import DataError
from tastemap.features.batch import FeatureBatch

__all__ = ["Labelled", "labels_of"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of features with what came of them.

    Attributes:
        features: [n].
        labels: float32 [n], 1 for a click and 0 for none.

    Raises:
        DataError: no rows, another number of labels than rows, or a label that is not 0 or 1.
    """

    features: FeatureBatch
    labels: NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.features) == 0:
            raise DataError("there are no rows")
        if self.labels.shape != (len(self.features),):
            raise DataError(
                f"{len(self.features)} rows have labels of shape {list(self.labels.shape)}; "
                "give one a row"
            )
        wrong = (self.labels != 0) & (self.labels != 1)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                "a label must be 0 or 1", row=row + 1, value=self.labels[row].item(),
                remedy="Say from which value on a row counts as a click",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.features)


def labels_of(frame: Any, name: str) -> NDArray[np.float32]:
    """The column of labels, float32 [n]; whether they are 0 or 1 is looked at later.

    Raises:
        DataError: there is no such column, or a label is missing or no number.
    """
    arrays = frame_arrays(frame)
    if name not in arrays:
        raise DataError(
            f"there is no column {name!r} among {', '.join(arrays) or 'none'}",
            remedy="Name the column of labels with label=",
        )
    labels, flaws = parse_values(arrays[name], name)
    for flaw in flaws:
        raise DataError(
            flaw.problem, row=int(flaw.rows.argmax()) + 1, column=name,
            remedy="Every row needs a label, 0 or 1",
        )  # fmt: skip
    return labels
