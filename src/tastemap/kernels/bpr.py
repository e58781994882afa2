"""BPR on the CPU: epochs of SGD, in place on float32 tables, and vectors for new histories."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST, draw, sigmoid_and_loss

__all__ = ["bpr_epoch", "bpr_fold_in", "hardest"]


@nb.njit(cache=True, nogil=True, inline="always", fastmath=FAST)
def hardest(
    seed: Any, event: Any, candidates: Any, pool: Any, chosen: Any, p: Any, Q: Any, c: Any
) -> Any:
    """Of so many items drawn from the pool that are not among `chosen` (sorted), the one that p
    scores highest; 0 where none was found."""
    if candidates == 1:
        return draw(seed, event, pool, chosen)
    best, highest = np.int32(0), np.float32(-np.inf)
    for candidate in range(candidates):
        j = draw(seed, event * candidates + candidate, pool, chosen)
        if j == 0:
            continue
        x = c[j]
        for f in range(len(p)):
            x += p[f] * Q[j, f]
        # The first one found stands until a higher one comes, also where scores are not finite.
        if x > highest or best == 0:
            best, highest = j, x
    return best


@parallel_njit(fastmath=FAST)
def bpr_epoch(
    users: Any, items: Any, offsets: Any, pool: Any, pool_offsets: Any, order: Any,
    chosen_offsets: Any, chosen: Any, P: Any, Q: Any, c: Any, rate: Any, decay: Any,
    bias_decay: Any, candidates: Any, seed: Any,
) -> Any:  # fmt: skip
    """One pass of SGD on the BPR loss (Rendle et al. 2009), a negative for each event.

        x = c_i - c_j + p_u · (q_i - q_j),      g = σ(-x)
        p_u += rate (g (q_i - q_j) - decay p_u)
        q_i += rate (g p_u - decay q_i)         c_i += rate (g - bias_decay c_i)
        q_j += rate (-g p_u - decay q_j)        c_j += rate (-g - bias_decay c_j)

    The negative j is the highest scored of `candidates` items drawn from the stratum of i, so that
    blocks stay apart. Where strata are drawn anew for every epoch, each item is as likely to be
    drawn as every other over the epochs.

    Args:
        users, items, offsets, pool, pool_offsets: see `Blocks`.
        order: int64 [T], a permutation: which diagonal of blocks comes when.
        chosen_offsets, chosen: int64 [user rows + 1] and int32, each user's items, sorted.
        P, Q: float32 [user rows, k] and [item rows, k], changed in place.
        c: float32 [item rows], changed in place.
        rate, decay, bias_decay: float32. candidates: int, from 1. seed: uint64, of the draws.

    Returns:
        The sum of -ln σ(x) as the events were met, float64, and how many had a negative, int64.
    """
    T, k = len(order), P.shape[1]
    losses, counts = np.zeros(T), np.zeros(T, np.int64)
    keep, bias_keep = np.float32(1) - rate * decay, np.float32(1) - rate * bias_decay
    for step in range(T):
        for s in nb.prange(T):
            t = (s + order[step]) % T
            stratum = pool[pool_offsets[t] : pool_offsets[t + 1]]
            for event in range(offsets[s * T + t], offsets[s * T + t + 1]):
                # Unsigned indices spare a test for negative ones.
                u, i = np.uint64(users[event]), np.uint64(items[event])
                own = chosen[chosen_offsets[u] : chosen_offsets[u + np.uint64(1)]]
                j = np.uint64(hardest(seed, event, candidates, stratum, own, P[u], Q, c))
                if j == 0:
                    continue
                x = c[i] - c[j]
                for f in range(k):
                    x += P[u, f] * (Q[i, f] - Q[j, f])
                g, loss = sigmoid_and_loss(x)
                losses[s] += loss
                counts[s] += 1
                push = rate * g
                c[i] = bias_keep * c[i] + push
                c[j] = bias_keep * c[j] - push
                for f in range(k):
                    p, qi, qj = P[u, f], Q[i, f], Q[j, f]
                    P[u, f] = keep * p + push * (qi - qj)
                    Q[i, f] = keep * qi + push * p
                    Q[j, f] = keep * qj - push * p
    return losses.sum(), counts.sum()


@parallel_njit(fastmath=FAST)
def bpr_fold_in(
    offsets: Any, items: Any, Q: Any, c: Any, rate: Any, decay: Any, candidates: Any, epochs: Any,
    seed: Any,
) -> Any:  # fmt: skip
    """Vectors p_u of histories, float32 [B, k]: the user's part of `bpr_epoch` from 0 on.

    The rate falls linearly to 0. Every history has the same random numbers.

    Args:
        offsets, items: int64 [B+1] and int32 [m], the histories, without item row 0.
        Q, c: float32 [item rows, k] and [item rows].
        rate, decay: float32. candidates, epochs: int, from 1. seed: uint64.
    """
    n, k = len(offsets) - 1, Q.shape[1]
    P = np.zeros((n, k), np.float32)
    pool = np.arange(1, len(Q)).astype(np.int32)
    for row in nb.prange(n):
        history = items[offsets[row] : offsets[row + 1]]
        chosen = np.sort(history)
        for epoch in range(epochs):
            step = np.float32(rate * (1 - epoch / epochs))
            keep = np.float32(1) - step * decay
            for event in range(len(history)):
                number = epoch * len(history) + event
                i = history[event]
                j = hardest(seed, number, candidates, pool, chosen, P[row], Q, c)
                if j == 0:
                    continue
                x = c[i] - c[j]
                for f in range(k):
                    x += P[row, f] * (Q[i, f] - Q[j, f])
                push = step * sigmoid_and_loss(x)[0]
                for f in range(k):
                    P[row, f] = keep * P[row, f] + push * (Q[i, f] - Q[j, f])
    return P
