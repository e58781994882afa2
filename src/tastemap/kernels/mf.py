"""SGD epochs of matrix factorization on the CPU, in place on float32 tables.

They follow distributed SGD (Gemulla et al. 2011, Large-Scale Matrix Factorization with
Distributed Stochastic Gradient Descent): users and items are cut into T strata each, which cuts the
events into T × T blocks. Blocks that share neither users nor items touch different rows, so T of
them can run at once without locks, and whatever the number of threads, the result is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.kernels.splitmix import mixed

__all__ = [
    "FAST",
    "STRATA",
    "Strata",
    "draw",
    "mse_epoch",
    "random_bits",
    "sigmoid_and_loss",
    "stratify",
]

# At most so many threads work at once; more strata would mean more waiting for the last thread.
STRATA = 8

# How often a negative is drawn anew that the user has chosen, before the event is left out.
ATTEMPTS = 8

# No "nnan" and "ninf": a diverging run must show as such.
FAST = {"reassoc", "contract", "arcp", "nsz"}


class Strata(NamedTuple):
    """Events in the order of their blocks.

    Attributes:
        users, items: int32 [m], rows; within a block in the order given.
        values: float32 [m].
        offsets: int64 [T*T+1]; block (s, t) holds events offsets[s*T+t]:offsets[s*T+t+1].
        pool: int32 [item rows - 1], the item rows from 1, grouped by stratum.
        pool_offsets: int64 [T+1]; stratum t holds pool[pool_offsets[t]:pool_offsets[t+1]].
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float32]
    offsets: NDArray[np.int64]
    pool: NDArray[np.int32]
    pool_offsets: NDArray[np.int64]


def stratify(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    values: NDArray[Any],
    n_users: int,
    n_items: int,
    rng: np.random.Generator,
    strata: int = STRATA,
) -> Strata:
    """Cuts users and items at random into strata with about equally many events each."""
    user_stratum, _, _ = _random_strata(users, n_users, strata, rng)
    item_stratum, pool, pool_offsets = _random_strata(items, n_items, strata, rng)
    users, items, values, offsets = _group(users, items, values, user_stratum, item_stratum, strata)
    return Strata(users, items, values, offsets, pool, pool_offsets)


def _random_strata(
    rows: NDArray[np.int32], n: int, strata: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    # One more for every row, so that rows without events are spread evenly too.
    counts = np.bincount(rows, minlength=n) + 1
    pool = (rng.permutation(n - 1) + 1).astype(np.int32)
    before = np.cumsum(counts[pool]) - counts[pool]
    of_pool = before * strata // max(int(counts[1:].sum()), 1)
    stratum = np.zeros(n, np.int32)
    stratum[pool] = of_pool
    return stratum, pool, np.searchsorted(of_pool, np.arange(strata + 1)).astype(np.int64)


@nb.njit(cache=True, nogil=True)
def _group(
    users: Any, items: Any, values: Any, user_stratum: Any, item_stratum: Any, T: Any
) -> Any:
    offsets = np.zeros(T * T + 1, np.int64)
    for e in range(len(users)):
        offsets[user_stratum[users[e]] * T + item_stratum[items[e]] + 1] += 1
    offsets = np.cumsum(offsets)
    cursor = offsets[:-1].copy()
    new_users, new_items = np.empty_like(users), np.empty_like(items)
    new_values = np.empty_like(values)
    for e in range(len(users)):
        block = user_stratum[users[e]] * T + item_stratum[items[e]]
        at = cursor[block]
        new_users[at], new_items[at], new_values[at] = users[e], items[e], values[e]
        cursor[block] += 1
    return new_users, new_items, new_values, offsets


@parallel_njit(fastmath=FAST)
def mse_epoch(
    users: Any, items: Any, values: Any, offsets: Any, order: Any,
    P: Any, Q: Any, b: Any, c: Any, rate: Any, decay: Any, bias_decay: Any,
) -> Any:  # fmt: skip
    """One pass of SGD on the squared error of ratings (Koren et al. 2009).

        r̂_ui = b_u + c_i + p_u · q_i,    e = r_ui - r̂_ui
        p_u += rate (e q_i - decay p_u)         q_i += rate (e p_u - decay q_i)
        b_u += rate (e - bias_decay b_u)        c_i += rate (e - bias_decay c_i)

    Args:
        users, items, values, offsets: see `Strata`; the mean of all ratings is subtracted.
        order: int64 [T], a permutation: which diagonal of blocks comes when.
        P, Q: float32 [user rows, k] and [item rows, k], changed in place.
        b, c: float32 [user rows] and [item rows], changed in place.
        rate, decay, bias_decay: float32.

    Returns:
        The sum of e² as the events were met, float64.
    """
    T, k = len(order), P.shape[1]
    losses = np.zeros(T)
    keep, bias_keep = np.float32(1) - rate * decay, np.float32(1) - rate * bias_decay
    for step in range(T):
        for s in nb.prange(T):
            block = s * T + (s + order[step]) % T
            loss = 0.0
            for event in range(offsets[block], offsets[block + 1]):
                # Unsigned indices spare a test for negative ones.
                u, i = np.uint64(users[event]), np.uint64(items[event])
                dot = np.float32(0)
                for f in range(k):
                    dot += P[u, f] * Q[i, f]
                error = values[event] - b[u] - c[i] - dot
                loss += error * error
                push = rate * error
                b[u] = bias_keep * b[u] + push
                c[i] = bias_keep * c[i] + push
                for f in range(k):
                    p, q = P[u, f], Q[i, f]
                    P[u, f] = keep * p + push * q
                    Q[i, f] = keep * q + push * p
            losses[s] += loss
    return losses.sum()


@nb.njit(cache=True, nogil=True, inline="always")
def random_bits(seed: Any, event: Any, attempt: Any) -> Any:
    """A random uint64 for each (seed, event, attempt): the finalizer of splitmix64."""
    return mixed(
        seed
        + (np.uint64(event) * np.uint64(ATTEMPTS) + np.uint64(attempt))
        * np.uint64(0x9E3779B97F4A7C15)
    )


@nb.njit(cache=True, nogil=True)
def draw(seed: Any, event: Any, pool: Any, chosen: Any) -> Any:
    """An item of the pool that is not among `chosen` (sorted); 0 where none was found."""
    for attempt in range(ATTEMPTS):
        upper = random_bits(seed, event, attempt) >> np.uint64(32)
        j = pool[np.int64((upper * np.uint64(len(pool))) >> np.uint64(32))]
        # By hand, since numba's searchsorted takes twice as long.
        low, high = 0, len(chosen)
        while low < high:
            middle = (low + high) >> 1
            if chosen[middle] < j:
                low = middle + 1
            else:
                high = middle
        if low == len(chosen) or chosen[low] != j:
            return j
    return np.int32(0)


@nb.njit(cache=True, nogil=True, inline="always")
def sigmoid_and_loss(x: Any) -> Any:
    """σ(-x) and -ln σ(x), neither of which overflows."""
    small = np.exp(-abs(x))
    up = np.float32(1) / (np.float32(1) + small)
    loss = np.log1p(small) + max(-x, np.float32(0))
    return (small * up if x > 0 else up), loss
