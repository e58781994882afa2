"""A world whose tastes change, a release of its past, and a log of what came after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.online.events import Event, EventLog

N_USERS, N_ITEMS = 120, 60


def taken(user: int, n: int, shift: int, rng: np.random.Generator) -> list[int]:
    """Items of the user's third of the catalogue, which begins `shift` items later."""
    third = np.arange(20) + 20 * (user % 3) + shift
    return (rng.choice(third, n, replace=False) % N_ITEMS).tolist()


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


def later_events(shift: int, *, seed: int = 2, start: float = 3000.0) -> list[Event]:
    """What the users did after the release: 0 for the same tastes, 10 for others."""
    rng = np.random.default_rng(seed)
    events = [
        Event(f"u{user}", f"i{item}", "view", start + float(rng.uniform(0, 1000)), 1.0)
        for user in range(N_USERS + 30)
        for item in taken(user, 8, shift, rng)
    ]
    return sorted(events, key=lambda event: event.time)
