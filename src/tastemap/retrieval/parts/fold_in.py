"""What models have in common that learn a vector for each user: when it still holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries

__all__ = ["learned_or_folded", "unchanged_since"]


def unchanged_since(trained: Histories, queries: Queries) -> NDArray[np.bool_]:
    """bool [B]: the known users whose history is still the one of the training data.

    Args:
        trained: [user rows], what the users' vectors were learned from.
        queries: [B].
    """
    asked = queries.histories
    users = np.where(queries.users < len(trained), queries.users, 0)
    # Of those asked alone: `counts` would go through all users for every request.
    counts = trained.offsets[users + 1] - trained.offsets[users]
    same = (users > 0) & (asked.counts == counts)
    rows = np.flatnonzero(same)
    a, b = asked.take(rows), trained.take(users[rows])
    differs = (a.items != b.items) | (a.values != b.values)
    same[rows[a.rows_of_events()[differs]]] = False
    return np.asarray(same)


def learned_or_folded(
    trained: Histories,
    queries: Queries,
    learned: NDArray[np.float32],
    n_items: int,
    fold_in: Callable[[Histories], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """The vector learned in training where it still holds, and one made for every other history.

    Args:
        trained: [user rows], what the users' vectors were learned from.
        queries: [B].
        learned: float32 [user rows, d].
        n_items: item rows; what a history has beside them is unknown, as is row 0.
        fold_in: the vectors of histories without unknown items, float32 [b, d] for [b].

    Returns:
        float32 [B, d].
    """
    vectors = np.empty((len(queries), learned.shape[1]), np.float32)
    unchanged = unchanged_since(trained, queries)
    vectors[unchanged] = learned[queries.users[unchanged]]
    histories = queries.histories.take(np.flatnonzero(~unchanged))
    vectors[~unchanged] = fold_in(histories.known(n_items))
    return vectors
