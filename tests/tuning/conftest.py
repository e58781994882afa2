"""A small split with two tastes, on which a fit takes no time."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
import pytest

import tastemap as tm


@pytest.fixture(scope="session")
def split() -> tm.splits.Split:
    """80 users, 40 items; each user has 12 of the 20 items of a taste. There is no test part, so
    that whoever looks at it fails."""
    rng = np.random.default_rng(3)
    rows = [
        (f"u{user}", f"p{item}", float(rng.integers(1, 6)))
        for user in range(80)
        for item in rng.choice(20, size=12, replace=False) + 20 * (user % 2)
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row")
    data = tm.Dataset.from_frame(frame, user="user", item="item", value="rating")
    made = tm.splits.RandomPerUser(test=0.1, validation=0.2).split(data)
    return replace(made, test=cast(tm.Holdout, None))
