"""Chance that is the same whenever the same is asked."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.kernels.splitmix import mixed

__all__ = ["gumbel_of_pairs"]


@nb.njit(cache=True, nogil=True)
def _gumbel_of_pairs(offsets: Any, owners: Any, others: Any, found: Any) -> None:
    for row in range(len(offsets) - 1):
        owner = np.uint64(owners[row]) << np.uint64(32)
        for place in range(offsets[row], offsets[row + 1]):
            bits = mixed((owner | np.uint64(others[place])) + np.uint64(0x9E3779B97F4A7C15))
            uniform = (np.float64(bits >> np.uint64(11)) + 0.5) / 9007199254740992.0
            found[place] = -np.log(-np.log(uniform))


def gumbel_of_pairs(
    offsets: NDArray[np.int64], owners: NDArray[np.int32], others: NDArray[np.int32]
) -> NDArray[np.float32]:
    """A number for each pair of an owner and one of its list, as if drawn from the standard Gumbel
    distribution, and always the same for the same pair. The highest of scores to which such
    numbers are added is a draw from their softmax (the Gumbel-max trick, Yellott 1977).

    Args:
        offsets: int64 [B+1], of the lists.
        owners: int32 [B], 0 or more.
        others: int32 [m], 0 or more.

    Returns:
        float32 [m].
    """
    found = np.empty(len(others), np.float32)
    _gumbel_of_pairs(offsets, owners, others, found)
    return found
