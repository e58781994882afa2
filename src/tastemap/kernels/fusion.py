"""Two lists of items made into one by the gain of each item's places."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["fused"]


@nb.njit(cache=True, nogil=True)
def _fused(first: Any, second: Any, of_first: Any, of_second: Any, places: Any, gains: Any) -> None:
    n, m = first.shape[1], second.shape[1]
    for row in range(len(first)):
        gain = gains[row]
        for place in range(n):
            gain[place] = of_first[row, place] if first[row, place] else 0.0
        for place in range(m):
            gain[n + place] = of_second[row, place] if second[row, place] else 0.0
        by_item = np.argsort(second[row], kind="mergesort")
        sorted_items = second[row][by_item]
        for place in range(n):
            item = first[row, place]
            at = np.searchsorted(sorted_items, item)
            if item and at < m and sorted_items[at] == item:
                gain[place] += gain[n + by_item[at]]
                gain[n + by_item[at]] = 0.0
        # Stable, and by item among equal gains.
        together = np.concatenate((first[row], second[row]))
        order = np.argsort(together, kind="mergesort")
        order = order[np.argsort(-gain[order], kind="mergesort")]
        places[row] = order
        gains[row] = gain[order]


def fused(
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    of_first: NDArray[np.float64],
    of_second: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The places of two lists of each query, by gain, the greatest first, then by item.
    What stands in both has the sum of both gains at its place in the first.

    Args:
        first, second: int32 [B, n] and [B, m], items, each once, padded with 0.
        of_first, of_second: float64, the gain of each place.

    Returns:
        int64 [B, n + m], places from 0 on in the first list, and then in the second, and their
        gains, float64; 0 for what is padding or stands in the first list already.
    """
    places = np.empty((len(first), first.shape[1] + second.shape[1]), np.int64)
    gains = np.empty(places.shape)
    _fused(first, second, of_first, of_second, places, gains)
    return places, gains
