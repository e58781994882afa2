"""Users who were removed: their rows stay, so that all other rows keep their meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.vocabulary import Vocabulary

__all__ = ["is_tombstone", "without_users"]

_TEXT = "\0removed "
# 19 digits; none of the ids that people count up, hash or draw comes near.
_NUMBER = -9_000_000_000_000_000_000


def is_tombstone(user: str) -> bool:
    """Whether an id, as text, is that of a removed user's row."""
    return user.startswith(_TEXT) or (len(user) == 20 and user.startswith("-90000000"))


def without_users(dataset: Dataset, rows: NDArray[np.int32]) -> Dataset:
    """A data set without what some users (`rows` [n], from 1) did and are: no events, no profile,
    and in the place of the id one that says nothing but the row."""
    keep = ~np.isin(dataset.histories.rows_of_events(), rows)
    ids = dataset.users.ids_array
    gone = np.zeros(len(ids), np.bool_)
    gone[np.asarray(rows) - 1] = True
    stones = [
        _NUMBER - int(row) if dataset.users.is_integer else f"{_TEXT}{row}"
        for row in np.flatnonzero(gone) + 1
    ]
    users = Vocabulary(pc.replace_with_mask(ids, gone, pa.array(stones, ids.type)))
    table = dataset.user_table
    if table is not None:
        table = table.filter(
            pl.Series(~np.isin(dataset.users.rows(table["user"].to_arrow()), rows))
        )
    return replace(dataset.with_events(keep), users=users, user_table=table)
