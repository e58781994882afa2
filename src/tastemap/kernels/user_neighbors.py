"""Nearest users of a history and what they chose: the whole of scoring by user neighbours."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.data.histories import Histories

__all__ = ["Slices", "sum_user_neighbors"]

Slices = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Offsets int64 [n+1] and rows int32 [m]: those of i are the slice offsets[i]:offsets[i+1]."""


def sum_user_neighbors(
    histories: Histories,
    own_rows: NDArray[np.int32],
    voters: Slices,
    choices: Slices,
    lengths: NDArray[np.float32],
    item_weights: NDArray[np.float32],
    neighbors: int,
    shrinkage: float,
) -> NDArray[np.float32]:
    """For each history [B] the similarities of its nearest users, summed by what they chose.

    The similarity of a history h and a user v is the cosine of their choices weighted by
    `item_weights`, times n / (n + shrinkage) for n items in common. Time and memory of a history
    go with the choices of the users it shares an item with; no matrix of users × users is made.

    Args:
        histories: [B]; items outside 1 … n-1 and repeated ones count for nothing.
        own_rows: int32 [B], the user row that is no neighbour of the history (its own), or 0.
        voters: by item [n] the users who chose it.
        choices: by user [users] the items they chose, each once.
        lengths: float32 [users], of the users' weighted choices.
        item_weights: float32 [n].
        neighbors: the most similar users that are counted; of equal ones the lower row first.
        shrinkage: in items, at least 0.

    Returns:
        float32 [B, n].
    """
    out = np.zeros((len(histories), len(item_weights)), np.float32)
    _sum_user_neighbors(
        histories.offsets,
        histories.items,
        np.asarray(own_rows, np.int32),
        *voters,
        *choices,
        lengths,
        item_weights,
        neighbors,
        np.float32(shrinkage),
        out,
    )
    return out


@nb.njit(cache=True, nogil=True)
def _similar_users(
    history: Any,
    own_row: Any,
    voter_offsets: Any,
    voters: Any,
    lengths: Any,
    item_weights: Any,
    shrinkage: Any,
    products: Any,
    shared: Any,
) -> Any:
    """The users that share an item with a history, int32 [m], and their similarities."""
    counted = np.zeros(len(item_weights), np.bool_)
    length = 0.0
    most = 0
    for item in history:
        if 1 <= item < len(item_weights):
            most += voter_offsets[item + 1] - voter_offsets[item]
    met = np.empty(min(most, len(lengths)), np.int32)
    n = 0
    for item in history:
        if item < 1 or item >= len(item_weights) or counted[item]:
            continue
        counted[item] = True
        square = item_weights[item] * item_weights[item]
        length += square
        for place in range(voter_offsets[item], voter_offsets[item + 1]):
            user = voters[place]
            if shared[user] == 0:
                met[n] = user
                n += 1
            shared[user] += 1
            products[user] += square
    met = met[:n]
    similarity = np.zeros(n, np.float32)
    for place in range(n):
        user = met[place]
        scale = np.sqrt(length) * lengths[user]
        if user != own_row and scale > 0:
            damped = shared[user] / (shared[user] + shrinkage)
            similarity[place] = damped * products[user] / scale
        shared[user] = 0
        products[user] = 0
    return met, similarity


@parallel_njit()
def _sum_user_neighbors(
    offsets: Any,
    items: Any,
    own_rows: Any,
    voter_offsets: Any,
    voters: Any,
    choice_offsets: Any,
    choices: Any,
    lengths: Any,
    item_weights: Any,
    neighbors: Any,
    shrinkage: Any,
    out: Any,
) -> None:
    n_rows = len(out)
    tasks = min(n_rows, 64)
    for task in nb.prange(tasks):
        products = np.zeros(len(lengths), np.float32)
        shared = np.zeros(len(lengths), np.int32)
        for row in range(task * n_rows // tasks, (task + 1) * n_rows // tasks):
            met, similarity = _similar_users(
                items[offsets[row] : offsets[row + 1]],
                own_rows[row],
                voter_offsets,
                voters,
                lengths,
                item_weights,
                shrinkage,
                products,
                shared,
            )
            # By user row first, so that a stable sort leaves equal ones in that order.
            by_row = np.argsort(met, kind="mergesort")
            best = by_row[np.argsort(-similarity[by_row], kind="mergesort")]
            for place in best[:neighbors]:
                weight = similarity[place]
                if weight <= 0:
                    break
                user = met[place]
                for entry in range(choice_offsets[user], choice_offsets[user + 1]):
                    out[row, choices[entry]] += weight
