"""Ragged histories: what each user, or each query, did, in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.compiled import parallel_njit

__all__ = ["Histories", "group_by_row"]


@dataclass(frozen=True, eq=False)
class Histories:
    """Events grouped by row, each row sorted by (time, order of input).

    Attributes:
        offsets: int64 [n+1]; row i is the slice offsets[i]:offsets[i+1] of the other arrays.
        items: int32 [m], item rows; 0 for an unknown item.
        times: float64 [m], Unix seconds.
        values: float32 [m], ratings, or weights of the events' kinds.
        kinds: uint8 [m], positions in the data set's `kind_names`.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.float64]
    values: NDArray[np.float32]
    kinds: NDArray[np.uint8]

    @classmethod
    def empty(cls, n: int) -> Histories:
        """n rows without events."""
        return cls.from_lists([[] for _ in range(n)])

    @classmethod
    def from_lists(
        cls,
        items: Sequence[Sequence[int] | NDArray[Any]] | NDArray[Any],
        *,
        times: Sequence[Sequence[float] | NDArray[Any]] | None = None,
        values: Sequence[Sequence[float]] | float = 1.0,
    ) -> Histories:
        """Histories of item rows, in order of time, with values of their own or one for all.
        Times default to 0."""
        counts = np.fromiter((len(row) for row in items), np.int64, len(items))
        offsets = offsets_of(counts)
        total = int(offsets[-1])

        def flat(
            rows: Sequence[Any] | NDArray[Any] | None, dtype: Any, fill: float
        ) -> NDArray[Any]:
            if rows is None:
                return np.full(total, fill, dtype)
            parts = [np.asarray(row, dtype) for row in rows]
            return np.concatenate(parts) if parts else np.empty(0, dtype)

        return cls(
            offsets,
            flat(items, np.int32, 0),
            flat(times, np.float64, 0.0),
            np.full(total, values, np.float32)
            if isinstance(values, (int, float))
            else flat(values, np.float32, 1.0),
            np.zeros(total, np.uint8),
        )

    @classmethod
    def from_events(
        cls,
        rows: NDArray[np.int32],
        items: NDArray[np.int32],
        times: NDArray[np.float64],
        values: NDArray[np.float32],
        kinds: NDArray[np.uint8],
        n: int,
    ) -> Histories:
        """Histories [n] of events in any order; `rows` int32 [m] says whose each event is."""
        offsets, order = group_by_row(rows, times, n)
        return cls(offsets, items[order], times[order], values[order], kinds[order])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        return len(self.items)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events of each row, int64 [n]."""
        return self.offsets[1:] - self.offsets[:-1]

    def rows_of_events(self) -> NDArray[np.int32]:
        """The row that each event belongs to, int32 [m]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.counts)

    def items_of(self, row: int) -> NDArray[np.int32]:
        """The item rows of one history, a view."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: NDArray[Any] | Sequence[int]) -> Histories:
        """The histories of some rows, in the order asked for; rows may repeat."""
        rows = np.asarray(rows, dtype=np.int64)
        return self.parts(self.offsets[rows], self.offsets[rows + 1])

    def parts(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Histories:
        """Histories [n] of which number i has the events start[i]:stop[i] of these, copied."""
        counts = stop - start
        return self._of_events(offsets_of(counts), ranges(start, counts))

    def slice(self, start: int, stop: int) -> Histories:
        """Rows start:stop as views, without a copy."""
        first, last = self.offsets[start], self.offsets[stop]
        return Histories(
            self.offsets[start : stop + 1] - first,
            self.items[first:last],
            self.times[first:last],
            self.values[first:last],
            self.kinds[first:last],
        )

    def select(self, keep: NDArray[np.bool_]) -> Histories:
        """The events where `keep` (bool [m]) holds; the number of rows stays."""
        running = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        return self._of_events(running[self.offsets], np.flatnonzero(keep))

    def known(self, n_items: int) -> Histories:
        """The events of items that have a row from 1 to `n_items` - 1; itself where all have."""
        known = (self.items > 0) & (self.items < n_items)
        return self if known.all() else self.select(known)

    def _of_events(self, offsets: NDArray[np.int64], index: NDArray[np.int64]) -> Histories:
        return Histories(
            offsets, self.items[index], self.times[index], self.values[index], self.kinds[index]
        )

    def append(self, other: Histories) -> Histories:
        """Row by row, this history and then the other's events, sorted by time again.

        The other's events may come in any order. For batches of requests: NumPy's sort, as a
        compiled loop would have to be loaded, or compiled, while somebody waits for an answer.
        """
        rows = np.concatenate([self.rows_of_events(), other.rows_of_events()])
        times = np.concatenate([self.times, other.times])
        order = np.lexsort((times, rows))
        return Histories(
            self.offsets + other.offsets,
            np.concatenate([self.items, other.items])[order],
            times[order],
            np.concatenate([self.values, other.values])[order],
            np.concatenate([self.kinds, other.kinds])[order],
        )

    def to_csr(self, n_items: int, *, values: bool = False) -> csr_array:
        """A float32 matrix [n, n_items] with sorted indices and no entry for unknown items.

        Entries are 1, or with `values` the value of the event; where a pair occurs more than once,
        the sum of its values (so that a view and a purchase weigh more than a view).
        """
        kept = self.known(n_items)
        data = kept.values.astype(np.float32) if values else np.ones(kept.n_events, np.float32)
        # Copies, since summing duplicates sorts the arrays in place.
        parts = (data, kept.items.copy(), kept.offsets.copy())
        matrix = csr_array(parts, shape=(len(self), n_items))
        matrix.sum_duplicates()
        if not values:
            matrix.data[:] = 1.0
        return matrix


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n+1] offsets of rows with these counts."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def ranges(first: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """first_i, first_i + 1, … (lengths_i numbers) for one i after the other."""
    stops = np.cumsum(lengths)
    return np.arange(lengths.sum()) + np.repeat(first - stops + lengths, lengths)


@nb.njit(cache=True, nogil=True)
def _counting_sort(rows: Any, offsets: Any, order: Any) -> None:
    cursor = offsets[:-1].copy()
    for event in range(len(rows)):
        row = rows[event]
        order[cursor[row]] = event
        cursor[row] += 1


@parallel_njit()
def _sort_within_rows(order: Any, times: Any, offsets: Any) -> None:
    for row in nb.prange(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        for i in range(start + 1, stop):
            if times[order[i]] < times[order[i - 1]]:
                events = order[start:stop].copy()
                order[start:stop] = events[np.argsort(times[events], kind="mergesort")]
                break


def group_by_row(
    rows: NDArray[np.int32], times: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int32] | NDArray[np.int64]]:
    """Groups events by row and sorts them by (time, order of input) within a row.

    A counting sort and a stable sort of each short row: about the cost of reading the events, where
    a general sort of all of them would be several times that.

    Returns:
        offsets int64 [n+1], and order [m] (int32 where that suffices), the events' input positions
        in grouped order.
    """
    offsets = offsets_of(np.bincount(rows, minlength=n).astype(np.int64))
    order: NDArray[np.int32] | NDArray[np.int64]
    order = np.empty(len(rows), np.int32) if len(rows) < 2**31 else np.empty(len(rows), np.int64)
    _counting_sort(rows, offsets, order)
    _sort_within_rows(order, times, offsets)
    return offsets, order
