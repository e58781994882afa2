"""Which row stands at which position of an index, and which positions are tombstones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.masks import Remembered
from tastemap.features.batch import Ragged
from tastemap.index.growing import Growing
from tastemap.index.usable import Usable

__all__ = ["Positions"]

# Of so many masks it is remembered what searches need of them.
_MASKS = 16


class Positions:
    """Rows by position and positions by row.

    Positions count from 0, in the order in which vectors came. That of a row which was removed, or
    whose vector came anew, stays as a tombstone: it is passed over from then on. Of rows that count
    up, as those of a whole catalogue do, nothing is held until that changes: each stands as far
    behind the first as its number is above it.

    Args:
        rows: int32 [n], the row at each position; not copied.
        alive: bool [n], False for tombstones. Of several positions of one row the last is alive.
    """

    def __init__(self, rows: NDArray[np.int32], alive: NDArray[np.bool_]) -> None:
        self._rows = Growing(rows)
        self._first = int(rows[0]) if len(rows) else 0
        self._tables: _Tables | None = None
        self._usable = Remembered[Usable | None](_MASKS)
        if len(rows) == 0 or not (alive.all() and (np.diff(rows) == 1).all()):
            self._tables = _Tables(rows, alive)

    def __len__(self) -> int:
        """How many positions there are, tombstones too."""
        return len(self._rows)

    @property
    def found(self) -> int:
        """How many rows can be found."""
        return len(self) if self._tables is None else self._tables.found

    @property
    def rows(self) -> NDArray[np.int32]:
        """int32 [n], the row at each position."""
        return self._rows.array

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool [n], False for tombstones."""
        tables = self._tables
        return np.ones(len(self), np.bool_) if tables is None else tables.alive.array

    @property
    def n_row_numbers(self) -> int:
        """One more than the greatest row number that there is room for."""
        tables = self._tables
        return self._first + len(self) if tables is None else len(tables.of_row)

    @property
    def greatest_row(self) -> int:
        """The greatest row number that can be found; 0 where there is none."""
        tables = self._tables
        if tables is None:
            return self._first + len(self) - 1
        return int(np.flatnonzero(tables.of_row >= 0).max(initial=0))

    def of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """Where rows stand, int64 of the same shape; -1 for those that are not there."""
        tables = self._tables
        if tables is None:
            places = rows.astype(np.int64) - self._first
            return np.where(places < len(self), np.maximum(places, -1), -1)
        known = rows < len(tables.of_row)
        return np.where(known, tables.of_row[np.where(known, rows, 0)], -1).astype(np.int64)

    def of_histories(self, histories: Histories) -> Ragged:
        """Where the items of each history stand; those that are not there are left out."""
        places = self.of(histories.items)
        kept = places >= 0
        running = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return Ragged(running[histories.offsets], places[kept])

    def usable(self, allowed: NDArray[np.bool_] | None) -> Usable | None:
        """What may come out, or None for all. `allowed` is by row number, False beyond its end, or
        None for all."""
        return self._usable.of(allowed, lambda: self._usable_of(allowed))

    def _usable_of(self, allowed: NDArray[np.bool_] | None) -> Usable | None:
        if allowed is None:
            return None if self.found == len(self) else Usable(self.alive)
        if len(allowed) < self.n_row_numbers:
            more = np.zeros(self.n_row_numbers - len(allowed), np.bool_)
            allowed = np.concatenate([allowed, more])
        tables = self._tables
        if tables is None:
            return Usable(allowed[self._first : self._first + len(self)])
        return Usable(allowed[self.rows] & tables.alive.array)

    def forget(self) -> None:
        """Vectors have changed, and with them what is remembered of those that are usable."""
        self._usable = Remembered(_MASKS)

    def append(self, rows: NDArray[np.int32]) -> None:
        """Rows, buried before, stand at the next positions."""
        if len(rows) == 0:
            return
        tables, first = self._changed(), len(self)
        self._rows.append(rows)
        tables.alive.append(np.ones(len(rows), np.bool_))
        tables.of_row[rows] = np.arange(first, len(self))
        tables.found += len(rows)

    def bury(self, rows: NDArray[np.int32]) -> None:
        """Rows that are found no more; makes room for their numbers."""
        if len(rows) == 0:
            return
        tables = self._changed()
        if (room := int(rows.max(initial=0)) + 1) > len(tables.of_row):
            more = np.full(room + room // 8 - len(tables.of_row), -1, np.int32)
            tables.of_row = np.concatenate([tables.of_row, more])
        positions = np.unique(tables.of_row[rows])
        positions = positions[positions >= 0]
        tables.alive.array[positions] = False
        tables.of_row[rows] = -1
        tables.found -= len(positions)

    def _changed(self) -> _Tables:
        """The tables, which have to be there from now on."""
        self.forget()
        if self._tables is None:
            self._tables = _Tables(self.rows, self.alive)
        return self._tables


class _Tables:
    """What stands where, of any rows.

    Attributes:
        alive: bool [n], False for tombstones; of several positions of one row the last is alive.
        of_row: int32 [row numbers], positions, -1 for rows that are not there.
        found: how many rows are.
    """

    def __init__(self, rows: NDArray[np.int32], alive: NDArray[np.bool_]) -> None:
        self.alive = Growing(alive.copy())
        self.of_row = np.full(int(rows.max(initial=0)) + 1, -1, np.int32)
        positions = np.flatnonzero(alive)
        self.of_row[rows[positions]] = positions
        self.alive.array[positions] = self.of_row[rows[positions]] == positions
        self.found = int(np.count_nonzero(self.of_row >= 0))
