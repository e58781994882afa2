"""Which row stands at which position of an index, and which positions are tombstones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.features.batch import Ragged
from tastemap.index.growing import Growing

__all__ = ["Positions"]


class Positions:
    """Rows by position and positions by row.

    Positions count from 0, in the order in which vectors came. That of a row which was removed, or
    whose vector came anew, stays as a tombstone: it is passed over from then on.

    Args:
        rows: int32 [n], the row at each position; not copied.
        alive: bool [n], False for tombstones. Of several positions of one row the last is alive.
    """

    def __init__(self, rows: NDArray[np.int32], alive: NDArray[np.bool_]) -> None:
        self._rows, self._alive = Growing(rows), Growing(alive.copy())
        self._of_row = np.full(int(rows.max(initial=0)) + 1, -1, np.int32)
        positions = np.flatnonzero(alive)
        self._of_row[rows[positions]] = positions
        self._alive.array[positions] = self._of_row[rows[positions]] == positions
        self._found = int(np.count_nonzero(self._of_row >= 0))

    def __len__(self) -> int:
        """How many positions there are, tombstones too."""
        return len(self._rows)

    @property
    def found(self) -> int:
        """How many rows can be found."""
        return self._found

    @property
    def rows(self) -> NDArray[np.int32]:
        """int32 [n], the row at each position."""
        return self._rows.array

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool [n], False for tombstones."""
        return self._alive.array

    @property
    def n_row_numbers(self) -> int:
        """One more than the greatest row number that there is room for."""
        return len(self._of_row)

    @property
    def greatest_row(self) -> int:
        """The greatest row number that can be found; 0 where there is none."""
        return int(np.flatnonzero(self._of_row >= 0).max(initial=0))

    def of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Where rows stand, int64 of the same shape; -1 for those that are not there."""
        known = rows < len(self._of_row)
        return np.where(known, self._of_row[np.where(known, rows, 0)], -1).astype(np.int64)

    def of_histories(self, histories: Histories) -> Ragged:
        """Where the items of each history stand; those that are not there are left out."""
        places = self.of(histories.items)
        kept = places >= 0
        running = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return Ragged(running[histories.offsets], places[kept])

    def usable(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """What may come out, bool by position, or None for all; `allowed` is by row number, False
        beyond its end, or None for all."""
        if allowed is None:
            return None if self._found == len(self) else self.alive
        if len(allowed) < len(self._of_row):
            more = np.zeros(len(self._of_row) - len(allowed), np.bool_)
            allowed = np.concatenate([allowed, more])
        usable: NDArray[np.bool_] = allowed[self.rows] & self.alive
        return usable

    def append(self, rows: NDArray[np.int32]) -> None:
        """Rows, buried before, stand at the next positions."""
        first = len(self)
        self._rows.append(rows)
        self._alive.append(np.ones(len(rows), np.bool_))
        self._of_row[rows] = np.arange(first, len(self))
        self._found += len(rows)

    def bury(self, rows: NDArray[np.int32]) -> None:
        """Rows that are found no more; makes room for their numbers."""
        if (room := int(rows.max(initial=0)) + 1) > len(self._of_row):
            more = np.full(room + room // 8 - len(self._of_row), -1, np.int32)
            self._of_row = np.concatenate([self._of_row, more])
        positions = np.unique(self._of_row[rows])
        positions = positions[positions >= 0]
        self._alive.array[positions] = False
        self._of_row[rows] = -1
        self._found -= len(positions)
