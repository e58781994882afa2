"""The order of answers under pins and caps: one pass over the candidates of each query."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["arrange"]


@nb.njit(cache=True, nogil=True)
def _full_cap(
    item: Any, row: Any, offsets: Any, values: Any, used: Any, limits: Any, caps: Any, on: Any
) -> Any:
    """The first cap that leaves no room for an item, or -1."""
    for at in range(offsets[item], offsets[item + 1]):
        value = values[at]
        if on[row, caps[value]] and used[value] >= limits[value]:
            return caps[value]
    return -1


@nb.njit(cache=True, nogil=True)
def _count(item: Any, offsets: Any, values: Any, used: Any, step: Any) -> None:
    for at in range(offsets[item], offsets[item + 1]):
        used[values[at]] += step


@nb.njit(cache=True, nogil=True)
def _is_pinned(item: Any, pins: Any, taken: Any) -> Any:
    found = False
    for pin in range(len(pins)):
        found |= taken[pin] and pins[pin] == item
    return found


@nb.njit(cache=True, nogil=True)
def _arrange(
    items: Any,
    pins: Any,
    places: Any,
    offsets: Any,
    values: Any,
    limits: Any,
    caps: Any,
    on: Any,
    columns: Any,
    chosen: Any,
    passed: Any,
) -> None:
    n_rows, n_candidates = items.shape
    k = columns.shape[1]
    used = np.zeros(len(limits), np.int64)
    for row in range(n_rows):
        out = np.zeros(k, np.int64)
        by = np.full(k, -1, np.int64)
        where = np.full(k, -1, np.int64)
        taken = np.zeros(len(places), np.bool_)
        for pin in range(len(places)):
            item = pins[row, pin]
            if item == 0 or _is_pinned(item, pins[row], taken):
                continue
            place = places[pin] - 1
            while place < k and out[place] != 0:
                place += 1
            if place >= k:
                continue
            cap = _full_cap(item, row, offsets, values, used, limits, caps, on)
            if cap >= 0:
                passed[row, cap] += 1
                continue
            out[place], by[place], taken[pin] = item, pin, True
            _count(item, offsets, values, used, 1)
            for column in range(n_candidates):
                if items[row, column] == item:
                    where[place] = column
                    break
        place = 0
        for column in range(n_candidates):
            while place < k and out[place] != 0:
                place += 1
            if place == k:
                break
            item = items[row, column]
            if item == 0 or _is_pinned(item, pins[row], taken):
                continue
            cap = _full_cap(item, row, offsets, values, used, limits, caps, on)
            if cap >= 0:
                passed[row, cap] += 1
                continue
            out[place], where[place] = item, column
            _count(item, offsets, values, used, 1)
        # What is pinned behind the end of a short answer moves up.
        last = 0
        for place in range(k):
            if out[place] != 0:
                _count(out[place], offsets, values, used, -1)
                columns[row, last], chosen[row, last] = where[place], by[place]
                last += 1


def arrange(
    items: NDArray[np.int32],
    k: int,
    pins: NDArray[np.int32],
    places: NDArray[np.int64],
    offsets: NDArray[np.int64],
    values: NDArray[np.int64],
    limits: NDArray[np.int64],
    caps: NDArray[np.int64],
    on: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The first k of candidates in their order, with some pinned and at most so many of a value.

    Pins come first: each takes its place, or the next free one, and counts towards the caps. Then
    the candidates fill the other places in their order; one that a cap leaves no room for is passed
    over. No item comes twice.

    Args:
        items: int32 [B, K], item rows in their order; 0 for none.
        k: how many.
        pins: int32 [B, P], the item rows to pin, those that go first first; 0 for none.
        places: int64 [P], their places from 1.
        offsets: int64 [item rows + 1]; the values of item i are offsets[i]:offsets[i + 1] of the
            next.
        values: int64, numbers of values such as authors.
        limits: int64 [V], how many items of a value may come.
        caps: int64 [V], the cap that a value belongs to.
        on: bool [B, C], which caps hold for a query.

    Returns:
        columns int64 [B, k], which candidate stands at each place, -1 where none does;
        chosen int64 [B, k], the pin that stands there, or -1;
        passed int64 [B, C], how often a cap passed an item over before the answer was full.
    """
    columns = np.full((len(items), k), -1, np.int64)
    chosen = np.full((len(items), k), -1, np.int64)
    passed = np.zeros(on.shape, np.int64)
    _arrange(
        items, pins, places, offsets, values, limits, caps, on, columns, chosen, passed
    )  # fmt: skip
    return columns, chosen, passed
