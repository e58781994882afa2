"""Vectors of numbers that are piecewise linear in them."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["interpolated"]


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _interpolated(
    numbers: Any, left: Any, width: Any, begins: Any, slopes: Any, missing: Any, found: Any
) -> None:
    rows, features = numbers.shape
    bins, dim = left.shape[1], found.shape[2]
    for row in range(rows):
        for feature in range(features):
            x = numbers[row, feature]
            if np.isnan(x):
                for d in range(dim):
                    found[row, feature, d] = missing[feature, d]
                continue
            # The last bin that begins at x or before it; bins that are not there begin at infinity.
            low, high = 0, bins
            while low < high:
                middle = (low + high) // 2
                if left[feature, middle] <= x:
                    low = middle + 1
                else:
                    high = middle
            place = max(low - 1, 0)
            within = (x - left[feature, place]) / width[feature, place]
            within = min(max(within, np.float32(0)), np.float32(1))
            for d in range(dim):
                found[row, feature, d] = (
                    begins[feature, place, d] + within * slopes[feature, place, d]
                )


def interpolated(
    numbers: NDArray[np.float32],
    left: NDArray[np.float32],
    width: NDArray[np.float32],
    begins: NDArray[np.float32],
    slopes: NDArray[np.float32],
    missing: NDArray[np.float32],
) -> NDArray[np.float32]:
    """A vector for each number, float32 [B, n, dim].

    Args:
        numbers: float32 [B, n], NaN where missing.
        left, width: float32 [n, bins], where each bin of a feature begins, rising, and its width;
            a number outside all bins counts as the nearest end.
        begins, slopes: float32 [n, bins, dim], the vector where each bin begins, and what a bin
            adds to it.
        missing: float32 [n, dim].
    """
    found = np.empty((*numbers.shape, slopes.shape[2]), np.float32)
    _interpolated(numbers, left, width, begins, slopes, missing, found)
    return found
