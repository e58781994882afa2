"""What a ranker made of items, kept for those who are proposed them next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tastemap.features.block import Block
from tastemap.features.item_features import ItemFeatures

__all__ = ["ItemMemory"]

# Of all arrays of a ranker.
_BYTES = 64 << 20

Made = Sequence[NDArray[Any]]


class ItemMemory:
    """Rows of arrays that a function makes of items' features, kept as long as the features are the
    same. When there is no room for more, all of them are forgotten: what is asked for often is soon
    there again.

    Args:
        kinds: numbers that each array has for an item, and their kind.
        room: items that are kept at most.
    """

    def __init__(self, kinds: Sequence[tuple[int, DTypeLike]], room: int | None = None) -> None:
        self._kinds = tuple(kinds)
        size = sum(width * np.dtype(kind).itemsize for width, kind in kinds)
        self._room = max(_BYTES // size, 1) if room is None else room
        self._lock = threading.Lock()
        # Pages that nobody has written to take no memory.
        self._kept = [np.empty((self._room, width), kind) for width, kind in self._kinds]
        self._items = np.empty(self._room, np.int32)  # whose rows these are
        self._places = np.empty(0, np.int32)  # by item; -1 for those that have none
        self._used = 0
        self._state: tuple[object, ...] = ()

    def __deepcopy__(self, memo: Any) -> Self:
        # A lock cannot be copied, and memories need not be.
        return type(self)(self._kinds, self._room)

    def _forget(self, state: tuple[object, ...], size: int) -> None:
        if size == len(self._places):
            # Few, where there may be millions of items.
            self._places[self._items[: self._used]] = -1
        else:
            self._places = np.full(size, -1, np.int32)
        self._state, self._used = state, 0

    @contextmanager
    def of(
        self, asked: ItemFeatures, make: Callable[[Block], Made]
    ) -> Iterator[tuple[NDArray[np.int64], Made]]:
        """What was made of items, or is now.

        Args:
            asked: n items.
            make: gives the arrays, [k, width] each, of a block of k rows.

        Yields:
            The row of each item, int64 [n], and the arrays, in which nobody else may write until
            the caller leaves.
        """
        # Whoever comes while another thread is here has all made anew, lest one that hangs hold up
        # the others.
        fits = 0 < len(asked) <= self._room and asked.current.any()
        if not fits or not self._lock.acquire(blocking=False):
            yield np.arange(len(asked)), make(asked.block)
            return
        try:
            yield self._recalled(asked, make), self._kept
        finally:
            self._lock.release()

    def _recalled(self, asked: ItemFeatures, make: Callable[[Block], Made]) -> NDArray[np.int64]:
        if not _are_same(asked.state, self._state) or asked.size != len(self._places):
            self._forget(asked.state, asked.size)
        places = np.where(asked.current, self._places[asked.items], np.int64(-1))
        missing = np.flatnonzero(places < 0)
        if len(missing) == 0:
            return places
        if self._used + len(missing) > self._room:
            self._forget(asked.state, asked.size)
            missing = np.arange(len(asked))
        # Those to be kept first, and behind them those that the next who asks may write over.
        current = asked.current[missing]
        missing = np.concatenate([missing[current], missing[~current]])
        kept = missing[: int(current.sum())]
        rows = slice(self._used, self._used + len(missing))
        for array, new in zip(self._kept, make(asked.make(missing)), strict=True):
            array[rows] = new
        places[missing] = np.arange(rows.start, rows.stop)
        self._items[self._used : self._used + len(kept)] = asked.items[kept]
        self._used += len(kept)
        self._places[asked.items[kept]] = places[kept]
        return places


def _are_same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))
