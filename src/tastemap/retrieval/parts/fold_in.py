"""What models have in common that learn a vector for each user: when it still holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries

__all__ = ["unchanged_since"]


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
