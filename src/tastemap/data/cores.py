"""The core of a log: the events that are left where every user and every item has enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories

__all__ = ["core"]


def core(
    histories: Histories,
    keep: NDArray[np.bool_],
    n_items: int,
    min_user_events: int,
    min_item_events: int,
) -> NDArray[np.bool_]:
    """The greatest part of some events in which every user and every item has enough events.

    Args:
        histories: of all users.
        keep: bool [m], the events to begin with.
        n_items: item rows.
        min_user_events: what a user needs.
        min_item_events: what an item needs.

    Returns:
        bool [m], the events of the core.
    """
    rows = histories.rows_of_events()
    while True:
        by_user = np.bincount(rows[keep], minlength=len(histories))
        by_item = np.bincount(histories.items[keep], minlength=n_items)
        enough = (by_user[rows] >= min_user_events) & (by_item[histories.items] >= min_item_events)
        left: NDArray[np.bool_] = keep & enough
        if left.sum() == keep.sum():
            return keep
        keep = left
