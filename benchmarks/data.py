"""The data sets of the benchmarks, in the order of their files."""

import numpy as np
import polars as pl

from benchmarks.splits import Ratings
from tastemap import datasets

NAMES = ("movielens-100k", "movielens-1m")


def load(name: str) -> Ratings:
    """The ratings of a data set, fetched first where it is not cached."""
    events = pl.read_parquet(datasets.fetch(name) / "events.parquet")
    users, user_rows = np.unique(events["user"].to_numpy(), return_inverse=True)
    items, item_rows = np.unique(events["item"].to_numpy(), return_inverse=True)
    return Ratings(
        name,
        user_rows.astype(np.int32),
        item_rows.astype(np.int32),
        events["value"].to_numpy(),
        len(users),
        len(items),
        events["time"].to_numpy().astype(np.float64),
    )
