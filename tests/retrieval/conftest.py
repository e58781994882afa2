from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemap.data.dataset import Dataset

N_ITEMS = 30


@pytest.fixture(scope="session")
def walks() -> Dataset:
    """60 users who go from item to item: after item i comes i + 1, seldom another."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        item = int(rng.integers(N_ITEMS))
        for step in range(int(rng.integers(5, 25))):
            rows.append((user, item, float(step)))
            item = (item + 1) % N_ITEMS if rng.random() < 0.9 else int(rng.integers(N_ITEMS))
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return Dataset.from_frame(frame)
