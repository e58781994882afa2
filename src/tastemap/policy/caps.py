"""Not too much of one author, category or brand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tastemap.data.dataset import Dataset
from tastemap.policy.columns import labels
from tastemap.policy.rule import Rule

__all__ = ["Cap", "Caps"]


class Cap(Rule):
    """At most so many items of one value in an answer, such as two films of a director.

    An item with several values counts for each of them, one without any for none.
    """

    kind: ClassVar[str] = "cap"

    column: str = Field(description="the name of a column of the item table")
    at_most: int = Field(ge=1, description="how many items of one value may be in an answer, 1 up")
    separator: str | None = Field(
        None, min_length=1, description="what stands between several values in a text of the column"
    )

    def on(self, data: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The values of each item, as offsets and numbers; see `columns.labels`.

        Raises:
            RuleError: there is no such column, or it is of another type.
        """
        return labels(data, self.column, "column", self.separator)[:2]


class Caps:
    """All caps together, their values numbered through.

    Args:
        limits: of each cap, how many items of a value may come.
        parts: of each cap the values of items, as offsets int64 [item rows + 1] and numbers.
        n_items: item rows.

    Attributes:
        offsets, values: int64; the values of item row i are values[offsets[i]:offsets[i + 1]].
        limits: int64 [V], how many items of each value may come.
        caps: int64 [V], the cap that each value belongs to.
    """

    def __init__(
        self,
        limits: Sequence[int],
        parts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
        n_items: int,
    ) -> None:
        sizes = [int(numbers.max(initial=-1)) + 1 for _, numbers in parts]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        rows = [np.repeat(np.arange(n_items), np.diff(offsets)) for offsets, _ in parts]
        values = [numbers + start for (_, numbers), start in zip(parts, starts, strict=False)]
        none = [np.empty(0, np.int64)]
        of_rows = np.concatenate(rows + none)
        self.values: NDArray[np.int64] = np.concatenate(values + none)[
            np.argsort(of_rows, kind="stable")
        ]
        self.offsets = np.concatenate(
            [[0], np.cumsum(np.bincount(of_rows, minlength=n_items), dtype=np.int64)]
        )
        self.limits = np.repeat(np.asarray(limits, np.int64), sizes)
        self.caps = np.repeat(np.arange(len(sizes)), sizes)
