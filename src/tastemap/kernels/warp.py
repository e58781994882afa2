"""WARP on the CPU: epochs in place on float32 tables, and vectors for new histories."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST, draw

__all__ = ["warp_epoch", "warp_fold_in"]


@nb.njit(cache=True, nogil=True, inline="always", fastmath=FAST)
def _violator(
    seed: Any, event: Any, trials: Any, pool: Any, chosen: Any, p: Any, Q: Any, c: Any, i: Any
) -> Any:
    """The first item drawn whose score comes within 1 of item i's, and the number of the trial;
    0 and 0 where there is none in so many trials."""
    bound = c[i] - np.float32(1)
    for f in range(len(p)):
        bound += p[f] * Q[i, f]
    for trial in range(trials):
        j = draw(seed, event * trials + trial, pool, chosen)
        if j == 0:
            continue
        x = c[j]
        for f in range(len(p)):
            x += p[f] * Q[j, f]
        # Written so that a score that is not finite counts, and shows in the loss.
        if not (x <= bound):
            return j, trial + 1, x - bound
    return np.int32(0), 0, np.float32(0)


@parallel_njit(fastmath=FAST)
def warp_epoch(
    users: Any, items: Any, offsets: Any, pool: Any, pool_offsets: Any, order: Any,
    chosen_offsets: Any, chosen: Any, P: Any, Q: Any, c: Any, GP: Any, GQ: Any, Gc: Any,
    weights: Any, rate: Any, decay: Any, bias_decay: Any, adapt: Any, seed: Any,
) -> Any:  # fmt: skip
    """One pass over the events with the WARP loss (Weston, Bengio & Usunier 2011, Algorithm 1).

    For each event items are drawn until one, j at trial N, has x_j > x_i - 1. Then, w the weight of
    N trials, the gradients of w (1 - x_i + x_j) are

        p_u: w (q_j - q_i)      q_i: -w p_u     q_j: w p_u      c_i: -w     c_j: w

    plus decay times what is changed. Each row has a G that grows by `adapt` times the mean square
    of its gradient, and a step of rate / sqrt(G): rowwise Adagrad with 1, plain SGD with 0.

    Args:
        users, items, offsets, pool, pool_offsets: see `Blocks`.
        order: int64 [T], a permutation: which diagonal of blocks comes when.
        chosen_offsets, chosen: int64 [user rows + 1] and int32, each user's items, sorted.
        P, Q: float32 [user rows, k] and [item rows, k], changed in place.
        c: float32 [item rows], changed in place.
        GP, GQ, Gc: float32 [user rows], [item rows] and [item rows], changed in place.
        weights: float32 [trials + 1], w by the number of the trial; weights[0] is not read.
        rate, decay, bias_decay, adapt: float32. seed: uint64, of the draws.

    Returns:
        The sum of w (1 - x_i + x_j) as the events were met, float64, and the number of violators.
    """
    T, k, trials = len(order), P.shape[1], len(weights) - 1
    losses, counts = np.zeros(T), np.zeros(T, np.int64)
    one = np.float32(1)
    for step in range(T):
        for s in nb.prange(T):
            t = (s + order[step]) % T
            stratum = pool[pool_offsets[t] : pool_offsets[t + 1]]
            for event in range(offsets[s * T + t], offsets[s * T + t + 1]):
                u, i = np.uint64(users[event]), np.uint64(items[event])
                own = chosen[chosen_offsets[u] : chosen_offsets[u + np.uint64(1)]]
                found, trial, hinge = _violator(seed, event, trials, stratum, own, P[u], Q, c, i)
                if trial == 0:
                    continue
                j, w = np.uint64(found), weights[trial]
                losses[s] += w * hinge
                counts[s] += 1
                of_p, of_q = np.float32(0), np.float32(0)
                for f in range(k):
                    between = Q[i, f] - Q[j, f]
                    of_p += between * between
                    of_q += P[u, f] * P[u, f]
                squared = adapt * w * w
                GP[u] += squared * of_p / k
                GQ[i] += squared * of_q / k
                GQ[j] += squared * of_q / k
                Gc[i] += squared
                Gc[j] += squared
                bi, bj = rate / np.sqrt(Gc[i]), rate / np.sqrt(Gc[j])
                c[i] += bi * (w - bias_decay * c[i])
                c[j] += bj * (-w - bias_decay * c[j])
                a, bi, bj = rate / np.sqrt(GP[u]), rate / np.sqrt(GQ[i]), rate / np.sqrt(GQ[j])
                keep_p, keep_i, keep_j = one - a * decay, one - bi * decay, one - bj * decay
                for f in range(k):
                    p, qi, qj = P[u, f], Q[i, f], Q[j, f]
                    P[u, f] = keep_p * p + a * w * (qi - qj)
                    Q[i, f] = keep_i * qi + bi * w * p
                    Q[j, f] = keep_j * qj - bj * w * p
    return losses.sum(), counts.sum()


@parallel_njit(fastmath=FAST)
def warp_fold_in(
    offsets: Any, items: Any, Q: Any, c: Any, weights: Any, rate: Any, decay: Any, adapt: Any,
    epochs: Any, seed: Any,
) -> Any:  # fmt: skip
    """Vectors p_u of histories, float32 [B, k]: the user's part of `warp_epoch` from 0 on.

    The rate falls linearly to 0. Every history has the same random numbers.

    Args:
        offsets, items: int64 [B+1] and int32 [m], the histories, without item row 0.
        Q, c: float32 [item rows, k] and [item rows].
        weights: float32 [trials + 1]. rate, decay, adapt: float32. epochs: int. seed: uint64.
    """
    n, k, trials = len(offsets) - 1, Q.shape[1], len(weights) - 1
    P = np.zeros((n, k), np.float32)
    pool = np.arange(1, len(Q)).astype(np.int32)
    for row in nb.prange(n):
        history = items[offsets[row] : offsets[row + 1]]
        chosen = np.sort(history)
        total = np.float32(1)
        for epoch in range(epochs):
            falling = np.float32(rate * (1 - epoch / epochs))
            for event in range(len(history)):
                number = epoch * len(history) + event
                i = history[event]
                j, trial, _ = _violator(seed, number, trials, pool, chosen, P[row], Q, c, i)
                if trial == 0:
                    continue
                w, of_p = weights[trial], np.float32(0)
                for f in range(k):
                    between = Q[i, f] - Q[j, f]
                    of_p += between * between
                total += adapt * w * w * of_p / k
                a = falling / np.sqrt(total)
                keep = np.float32(1) - a * decay
                for f in range(k):
                    P[row, f] = keep * P[row, f] + a * w * (Q[i, f] - Q[j, f])
    return P
