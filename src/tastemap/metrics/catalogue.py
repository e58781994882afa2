"""What all lists together show of the catalogue: one value, not one per user.

    counts = exposure(recommended, n_items, k=10)
    coverage(counts), gini(counts)

They depend on how many users are asked, so compare them only between runs with the same users.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError

__all__ = ["coverage", "exposure", "gini"]


def exposure(recommended: NDArray[np.int32], n_items: int, k: int) -> NDArray[np.int64]:
    """In how many places among the lists' first k each item stands.

    Args:
        recommended: int32 [n, k'], item rows of each user's list, best first; 0 is padding.
        n_items: size of the catalogue; items have rows 1 to n_items.
        k: how many first places count.

    Returns:
        int64 [n_items], of item rows 1 and up. Counts of several batches of users may be added.

    Raises:
        ParameterError: an item row beyond the catalogue, or an empty catalogue.
    """
    if n_items < 1:
        raise ParameterError(f"n_items must be at least 1, got {n_items}")
    counts = np.bincount(np.asarray(recommended)[:, :k].ravel(), minlength=n_items + 1)
    if len(counts) > n_items + 1:
        raise ParameterError(
            f"item row {len(counts) - 1} is recommended, but the catalogue has {n_items} items"
        )
    return counts[1:].astype(np.int64)


def coverage(counts: NDArray[np.int64]) -> float:
    """Share of the catalogue that is in at least one list; `counts` is of `exposure`.

    Source: catalogue coverage of Ge, Delgado-Battenfeld and Jannach, RecSys 2010.
    """
    return float((counts > 0).mean())


def gini(counts: NDArray[np.int64]) -> float:
    """Gini coefficient of exposure over the whole catalogue; `counts` is of `exposure`.

    0 where all items are shown equally often, near 1 where few items get all the places; NaN where
    nothing is recommended. Source: Fleder and Hosanagar, Management Science 55(5), 2009.
    """
    if not counts.any():
        return float("nan")
    n = len(counts)
    ranks = np.arange(1, n + 1)
    return float(((2 * ranks - n - 1) * np.sort(counts)).sum() / (n * counts.sum()))
