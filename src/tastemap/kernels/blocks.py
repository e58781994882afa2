"""Events cut into blocks that threads can train on at once, without locks.

As in distributed SGD (Gemulla et al. 2011, Large-Scale Matrix Factorization with Distributed
Stochastic Gradient Descent), users and items are cut into T strata each, which cuts the events into
T × T blocks. Blocks that share neither users nor items touch different rows of the tables, so T of
them can run at once, and whatever the number of threads, the result is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit

__all__ = ["STRATA", "Blocks", "cut_into_blocks", "sorted_within_rows", "user_strata"]

# At most so many threads work at once; more strata would mean more waiting for the last thread.
STRATA = 8


class Blocks(NamedTuple):
    """Events in the order of their blocks.

    Attributes:
        users, items: int32 [m], rows; within a block by user.
        offsets: int64 [T*T+1]; block (s, t) holds events offsets[s*T+t]:offsets[s*T+t+1].
        pool: int32 [item rows - 1], the item rows from 1, grouped by stratum.
        pool_offsets: int64 [T+1]; stratum t holds pool[pool_offsets[t]:pool_offsets[t+1]].
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    pool: NDArray[np.int32]
    pool_offsets: NDArray[np.int64]


def user_strata(offsets: NDArray[np.int64], strata: int = STRATA) -> NDArray[np.int64]:
    """Cuts users, in their order, into strata of about equally many events.

    Args:
        offsets: int64 [user rows + 1], of the users' events.

    Returns:
        int64 [strata + 1]; stratum s holds the users bounds[s]:bounds[s+1].
    """
    wanted = np.arange(1, strata) * int(offsets[-1]) // strata
    inner = np.searchsorted(offsets[:-1], wanted)
    return np.concatenate([[0], inner, [len(offsets) - 1]]).astype(np.int64)


def cut_into_blocks(
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    bounds: NDArray[np.int64],
    counts: NDArray[np.int64],
    rng: np.random.Generator,
) -> Blocks:
    """Blocks of users as they come and of items at random, of about equally many events.

    Item strata that are drawn anew for every epoch make each item the neighbour of every other.

    Args:
        offsets, items: int64 [user rows + 1] and int32 [m], each user's items; row 0 is left out.
        bounds: int64 [T+1], of `user_strata`.
        counts: int64 [item rows], events of each item.
        rng: of the strata of items.
    """
    strata = len(bounds) - 1
    # One more for every item, so that items without events are spread evenly too.
    pool = (rng.permutation(len(counts) - 1) + 1).astype(np.int32)
    before = np.cumsum(counts[pool] + 1)
    edges = np.arange(strata + 1) * int(before[-1] if len(before) else 0) // strata
    pool_offsets = np.searchsorted(before, edges, side="right").astype(np.int64)
    stratum = np.zeros(len(counts), np.uint8)
    stratum[pool] = np.repeat(np.arange(strata, dtype=np.uint8), np.diff(pool_offsets))
    users, grouped, block_offsets = _group(offsets, items, bounds, stratum)
    return Blocks(users, grouped, block_offsets, pool, pool_offsets)


@parallel_njit()
def _group(offsets: Any, items: Any, bounds: Any, stratum: Any) -> Any:
    T = len(bounds) - 1
    sizes = np.zeros((T, T), np.int64)
    for s in nb.prange(T):
        for event in range(offsets[bounds[s]], offsets[bounds[s + 1]]):
            if items[event] > 0:
                sizes[s, stratum[items[event]]] += 1
    block_offsets = np.zeros(T * T + 1, np.int64)
    block_offsets[1:] = np.cumsum(sizes)
    users = np.empty(block_offsets[-1], np.int32)
    grouped = np.empty(block_offsets[-1], np.int32)
    for s in nb.prange(T):
        cursor = block_offsets[s * T : (s + 1) * T].copy()
        for user in range(bounds[s], bounds[s + 1]):
            for event in range(offsets[user], offsets[user + 1]):
                item = items[event]
                if item > 0:
                    at = cursor[stratum[item]]
                    cursor[stratum[item]] = at + 1
                    users[at], grouped[at] = user, item
    return users, grouped, block_offsets


@parallel_njit()
def sorted_within_rows(offsets: Any, items: Any) -> Any:
    """The items of each row in order, int32 [m]; what a negative is looked up in."""
    ordered = items.copy()
    for row in nb.prange(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        for event in range(start + 1, stop):
            if ordered[event] < ordered[event - 1]:
                ordered[start:stop] = np.sort(ordered[start:stop])
                break
    return ordered
