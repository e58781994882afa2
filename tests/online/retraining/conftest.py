"""A release of a small world, and an empty log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from worlds import N_USERS, taken

import tastemap as tm
from tastemap.online.event_log import EventLog


@pytest.fixture
def past() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", f"i{item}", 1000.0 + rng.integers(0, 1000), "view")
        for user in range(N_USERS)
        for item in taken(user, 8, 0, rng)
    ]
    schema = ["user", "item", "timestamp", "event"]
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture
def shop(past: pl.DataFrame) -> tm.Dataset:
    return tm.Dataset.from_frame(past, time="timestamp", kind="event")


@pytest.fixture
def store(shop: tm.Dataset, tmp_path: Path) -> tm.ReleaseStore:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(tm.Pipeline([tm.ItemKNN()]).fit(shop))
    return store


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "store-state")
    yield log
    log.close()
