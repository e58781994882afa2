"""SGD of one factor of Funk's SVD on the CPU, and what it adds to a rating."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST

__all__ = ["funk_add", "funk_epoch", "funk_fold_in"]


@parallel_njit(fastmath=FAST)
def funk_epoch(
    users: Any, items: Any, values: Any, sums: Any, offsets: Any, order: Any, p: Any, q: Any,
    rest: Any, low: Any, high: Any, rate: Any, decay: Any,
) -> Any:  # fmt: skip
    """One pass of SGD over the ratings for one factor, all earlier ones held fixed (Funk 2006).

        r̂ = clip(clip(sum + p_u q_i) + rest),    e = r - r̂
        p_u += rate (e q_i - decay p_u)           q_i += rate (e p_u - decay q_i)

    Args:
        users, items, values, offsets: see `mf.Strata`.
        sums: float32 [m], what baseline and earlier factors rate.
        order: int64 [T], a permutation: which diagonal of blocks comes when.
        p, q: float32 [user rows] and [item rows], the factor, changed in place.
        rest: float32, what all later factors together are taken to add.
        low, high, rate, decay: float32; the first two are the scale of ratings.

    Returns:
        The sum of e² as the ratings were met, float64.
    """
    T = len(order)
    losses = np.zeros(T)
    keep = np.float32(1) - rate * decay
    for step in range(T):
        for s in nb.prange(T):
            block = s * T + (s + order[step]) % T
            loss = 0.0
            for event in range(offsets[block], offsets[block + 1]):
                # Unsigned indices spare a test for negative ones.
                u, i = np.uint64(users[event]), np.uint64(items[event])
                rated = min(max(sums[event] + p[u] * q[i], low), high)
                error = values[event] - min(max(rated + rest, low), high)
                loss += error * error
                push = rate * error
                p[u], q[i] = keep * p[u] + push * q[i], keep * q[i] + push * p[u]
            losses[s] += loss
    return losses.sum()


@parallel_njit(fastmath=FAST)
def funk_add(sums: Any, users: Any, items: Any, P: Any, Q: Any, low: Any, high: Any) -> None:
    """Adds factors to ratings one after the other, each time brought back into the scale.

    Args:
        sums: float32 [m], changed in place.
        users, items: int [m], rows. P, Q: float32 [rows, k].
        low, high: float32.
    """
    for event in nb.prange(len(sums)):
        u, i = np.uint64(users[event]), np.uint64(items[event])
        for f in range(P.shape[1]):
            sums[event] = min(max(sums[event] + P[u, f] * Q[i, f], low), high)


@parallel_njit(fastmath=FAST)
def funk_fold_in(
    offsets: Any, items: Any, values: Any, sums: Any, Q: Any, low: Any, high: Any, penalty: Any
) -> Any:
    """The p_u of histories, one factor after the other, items held fixed, float32 [B, k].

    Each factor minimises Σ (r - sum - p q_i)² + n penalty p² over the n ratings of the history,
    which has a formula, and is then added to the sums, which are clipped.

    Args:
        offsets, items, values: int64 [B + 1], int32 [m], float32 [m], without the unknown item.
        sums: float32 [m], the baseline. Q: float32 [item rows, k].
        low, high, penalty: float32, penalty > 0.
    """
    n, k = len(offsets) - 1, Q.shape[1]
    P = np.zeros((n, k), np.float32)
    for row in nb.prange(n):
        first, last = offsets[row], offsets[row + 1]
        now = sums[first:last].copy()
        for f in range(k):
            wanted, squares = 0.0, 1e-12 + np.float64(penalty) * len(now)
            for event in range(len(now)):
                q = np.float64(Q[items[first + event], f])
                wanted += q * (values[first + event] - now[event])
                squares += q * q
            p = np.float32(wanted / squares)
            P[row, f] = p
            for event in range(len(now)):
                now[event] = min(max(now[event] + p * Q[items[first + event], f], low), high)
    return P
