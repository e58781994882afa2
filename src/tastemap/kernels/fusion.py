"""Two lists of items made into one by the gain of each item's places."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.kernels.topk import best_first, sift_down, worse

__all__ = ["fused"]


@nb.njit(cache=True, nogil=True)
def _slot_of(item: Any, slots: Any, items: Any) -> Any:
    """Where a table of places, -1 where it is empty, has an item, or would have it (Knuth, The Art
    of Computer Programming, volume 3, section 6.4: multiplicative hashing, linear probing)."""
    mask = len(slots) - 1
    at = (np.int64(item) * 2654435769 >> 8) & mask
    while slots[at] >= 0 and items[slots[at]] != item:
        at = (at + 1) & mask
    return at


@nb.njit(cache=True, nogil=True)
def _fused(first: Any, second: Any, of_first: Any, of_second: Any, places: Any, gains: Any) -> None:
    n, m, k = first.shape[1], second.shape[1], places.shape[1]
    size = 8
    while size < 2 * (n + m):
        size *= 2
    slots = np.empty(size, np.int64)
    items, gain, heap = np.empty(n + m, np.int32), np.empty(n + m), np.empty(k, np.int32)
    for row in range(len(first)):
        items[:n], items[n:] = first[row], second[row]
        gain[:n], gain[n:] = of_first[row], of_second[row]
        slots[:] = -1
        for place in range(n + m):
            if items[place]:
                at = _slot_of(items[place], slots, items)
                if slots[at] < 0:
                    slots[at] = place
                else:
                    gain[slots[at]] += gain[place]
                    items[place] = 0
        best = gains[row]
        heap[:] = 0
        for place in range(n + m):
            if items[place] and worse(best[0], heap[0], gain[place], items[place]):
                best[0], heap[0] = gain[place], items[place]
                sift_down(best, heap, 0, k)
        best_first(best, heap)
        for place in range(k):
            if heap[place]:
                places[row, place] = slots[_slot_of(heap[place], slots, items)]


def fused(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    of_first: NDArray[np.float64],
    of_second: NDArray[np.float64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k best places of two lists of each query, by gain, the greatest first, then by item.
    What stands in both has the sum of both gains at its place in the first.

    Args:
        first, second: int32 [B, n] and [B, m], items, each once, padded with 0.
        of_first, of_second: float64 above 0, the gain of each place.
        k: from 1.

    Returns:
        int64 [B, k], places from 0 on in the first list, and then in the second, and their gains,
        float64; both 0 where there are fewer.
    """
    places = np.zeros((len(first), k), np.int64)
    gains = np.zeros((len(first), k))
    _fused(first, second, of_first, of_second, places, gains)
    return places, gains
