"""Which rows of a table to add up, where many sums have a part in common."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["bags_of"]


@nb.njit(cache=True, nogil=True)
def _leader(rows: Any, within: Any, feature: int) -> int:
    """One of those that have what more than half have, as far as three of them tell; or -1."""
    n = len(rows)
    for leader in (0, n // 2, n - 1):
        row, share, same = rows[leader, feature], within[leader, feature], 0
        for place in range(n):
            same += int(rows[place, feature] == row) & int(within[place, feature] == share)
        if 2 * same > n:
            return leader
    return -1


@nb.njit(cache=True, nogil=True)
def _put(row: Any, share: Any, sign: Any, used: int, found: Any, weights: Any) -> int:
    """Puts down the two rows between which something lies, or one; how many there are then."""
    found[used], weights[used] = row, sign * (np.float32(1) - share)
    if share == 0:
        return used + 1
    found[used + 1], weights[used + 1] = row + 1, sign * share
    return used + 2


@nb.njit(cache=True, nogil=True)
def _bags(rows: Any, within: Any, found: Any, weights: Any, offsets: Any) -> int:
    n, features = rows.shape
    one, used = np.float32(1), 0
    shared, apart = np.empty((2, features), np.int64)
    leaders = np.empty(features, np.int64)
    n_shared, n_apart = 0, 0
    for feature in range(features):
        leader = leaders[feature] = _leader(rows, within, feature)
        if leader < 0:
            apart[n_apart] = feature
            n_apart += 1
        else:
            shared[n_shared] = feature
            n_shared += 1
            row, share = rows[leader, feature], within[leader, feature]
            used = _put(row, share, one, used, found, weights)
    offsets[0], offsets[1] = 0, used
    for place in range(n):
        for feature in apart[:n_apart]:
            row, share = rows[place, feature], within[place, feature]
            used = _put(row, share, one, used, found, weights)
        for feature in shared[:n_shared]:
            row, share = rows[place, feature], within[place, feature]
            theirs, part = rows[leaders[feature], feature], within[leaders[feature], feature]
            if row != theirs or share != part:
                used = _put(row, share, one, used, found, weights)
                used = _put(theirs, part, -one, used, found, weights)
        offsets[place + 2] = used
    return used


def bags_of(
    rows: NDArray[np.int64], within: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Which rows of a table T have to be added up for Σ_f (1 - w_f) T[r_f] + w_f T[r_f + 1] of each
    of n, where what most have in a feature is added up once for all, and taken out for the others.

    Args:
        rows: int64 [n, features], r, of one or more.
        within: float32 [n, features], w, from 0 to 1.

    Returns:
        rows int64 [m], their weights float32 [m], and offsets int64 [n+2] of the bags in them. What
        is in the first bag has to be added to all others.
    """
    n, features = rows.shape
    found = np.empty(2 * features * (1 + 2 * n), np.int64)
    weights = np.empty(len(found), np.float32)
    offsets = np.empty(n + 2, np.int64)
    used = _bags(rows, within, found, weights, offsets)
    return found[:used], weights[:used], offsets
