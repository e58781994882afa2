"""Sums of sparse neighbour rows: the scoring step of nearest-neighbour models."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.data.histories import Histories

__all__ = ["sum_neighbors"]


def sum_neighbors(
    histories: Histories,
    offsets: NDArray[np.int64],
    neighbors: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    """For each history [B] the sum of the neighbour rows of its distinct items, float32 [B, n].

    Row i of n is the slice offsets[i]:offsets[i+1] of neighbors and weights; items outside
    1 … n-1 count for nothing.
    """
    return _sum_neighbors(  # type: ignore[no-any-return]
        histories.offsets, histories.items, offsets, neighbors, weights, len(offsets) - 1
    )


@parallel_njit()
def _sum_neighbors(offsets: Any, items: Any, indptr: Any, indices: Any, data: Any, n: Any) -> Any:
    out = np.zeros((len(offsets) - 1, n), np.float32)
    for row in nb.prange(len(offsets) - 1):
        counted = np.zeros(n, np.bool_)
        for event in range(offsets[row], offsets[row + 1]):
            item = items[event]
            if item < 1 or item >= n or counted[item]:
                continue
            counted[item] = True
            for entry in range(indptr[item], indptr[item + 1]):
                out[row, indices[entry]] += data[entry]
    return out
