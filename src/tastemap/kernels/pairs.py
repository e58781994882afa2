"""Histories as pairs of who and what, each once."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["pairs"]


@nb.njit(cache=True, nogil=True)
def _pairs(offsets: Any, items: Any, values: Any, n_items: Any, found: Any, sums: Any) -> Any:
    ends = np.zeros(len(offsets), np.int64)
    n = 0
    for row in range(len(offsets) - 1):
        theirs = items[offsets[row] : offsets[row + 1]]
        first = n
        for at in np.argsort(theirs, kind="mergesort"):
            item = theirs[at]
            if item < 1 or item >= n_items:
                continue
            if n == first or found[n - 1] != item:
                found[n], sums[n] = item, np.float32(0)
                n += 1
            sums[n - 1] += values[offsets[row] + at]
        ends[row + 1] = n
    return ends


def pairs(
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    values: NDArray[np.float32],
    n_items: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """The items of each history, in rising order, with the sums of their values.

    For the few histories of a request: a sparse matrix of them takes longer to be made than all
    that is then done with it.

    Args:
        offsets, items, values: of the events, int64 [B+1], int32 [m] and float32 [m].
        n_items: item rows; an item outside of 1 to `n_items` - 1 is left out.

    Returns:
        int64 [B+1], int32 [n] and float32 [n].
    """
    found, sums = np.empty(len(items), np.int32), np.empty(len(items), np.float32)
    ends = _pairs(offsets, items, values, n_items, found, sums)
    return ends, found[: ends[-1]], sums[: ends[-1]]
