"""Attention of many candidates over one short history, a candidate at a time, so that no matrix of
weights is laid out."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["attended"]

_FAST = {"reassoc", "contract", "nsz"}

_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, of which the first has so few digits that products with small integers are
# exact (Cody and Waite 1980).
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Below that the power is 0 beside the greatest, which is 1.
_LEAST = np.float32(-80)
_HALF, _ONE = np.float32(0.5), np.float32(1)
# 1/k! of the Taylor series, which on ±ln 2 / 2 is as exact as float32 is.
_C3, _C4, _C5, _C6 = (np.float32(1 / each) for each in (6, 24, 120, 720))


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _exponentials(x: Any, powers: Any, bits: Any) -> None:
    """e to the x, in place, for x of at most 0. A loop that calls no function is vectorized.

    Args:
        powers, bits: float32 [n] and the same memory as int32, written over.
    """
    for place in range(len(x)):
        value = max(x[place], _LEAST)
        power = np.rint(value * _LOG2_E)
        rest = value - power * _LN2_HIGH - power * _LN2_LOW
        series = _C5 + rest * _C6
        series = _C3 + rest * (_C4 + rest * series)
        x[place] = _ONE + rest * (_ONE + rest * (_HALF + rest * series))
        bits[place] = (np.int32(power) + np.int32(127)) << np.int32(23)
    for place in range(len(x)):
        x[place] *= powers[place]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _attend(
    events: Any, keys: Any, items: Any, first: int, places: Any, powers: Any, bits: Any, found: Any
) -> None:
    n_events, dim = events.shape
    weights, sums = np.empty(n_events, np.float32), np.empty(dim, np.float32)
    for place in range(len(places)):
        item = places[place]
        weights[:] = np.float32(0)
        for column in range(dim):
            value = items[item, first + column]
            for event in range(n_events):
                weights[event] += value * keys[column, event]
        most = weights[0]
        for event in range(n_events):
            most = max(most, weights[event])
        for event in range(n_events):
            weights[event] -= most
        _exponentials(weights, powers, bits)
        total = np.float32(0)
        for event in range(n_events):
            total += weights[event]
        sums[:] = np.float32(0)
        for event in range(n_events):
            weight = weights[event]
            for column in range(dim):
                sums[column] += weight * events[event, column]
        for column in range(dim):
            found[place, column] = sums[column] / total


def attended(
    events: NDArray[np.float32],
    keys: NDArray[np.float32],
    items: NDArray[np.float32],
    first: int,
    places: NDArray[np.int64],
) -> NDArray[np.float32]:
    """softmax(c · k) e for each candidate, of its vector c with the keys of all events.

    Args:
        events: float32 [h, dim], the e.
        keys: float32 [h, dim], the k.
        items: float32 [n_items, width], which hold the vectors of candidates in the columns from
            `first` on.
        places: int64 [n], which of the items each candidate is.

    Returns:
        float32 [n, dim]; 0 where there are no events.
    """
    found = np.zeros((len(places), events.shape[1]), np.float32)
    if len(events):
        powers = np.empty(len(events), np.float32)
        by_column = np.ascontiguousarray(keys.T)
        _attend(events, by_column, items, first, places, powers, powers.view(np.int32), found)
    return found
