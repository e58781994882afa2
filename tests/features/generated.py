"""Small generated data sets with ties in time, repeats, lists, nulls and a context."""

from __future__ import annotations

import numpy as np
import polars as pl

import tastemap as tm

DAY = 86_400.0
GENRES = ["Action", "Comedy", "Drama", "Noir"]


def events(seed: int, n: int = 120, users: int = 6, items: int = 8) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": rng.integers(0, users, n),
            "item": rng.integers(0, items, n),
            "timestamp": np.sort(rng.integers(1, 60, n)) * DAY,
            "rating": rng.integers(1, 6, n).astype(float),
            "device": rng.choice(["phone", "tv"], n),
        }
    )


def dataset(frame: pl.DataFrame, users: int = 6, items: int = 8) -> tm.Dataset:
    """Everybody and everything has a row, whichever events are left, in the same order."""
    rng = np.random.default_rng(9)
    about_items = pl.DataFrame(
        {
            "item": np.arange(items),
            "genres": [
                None if item == 3 else GENRES[: item % 3] + GENRES[-(item % 2) - 1 :]
                for item in range(items)
            ],
            "studio": ["A", "B"] * (items // 2),
            "title": [f"title {item}" for item in range(items)],
            "year": [None, *(1990.5 + np.arange(items - 1))],
        }
    )
    about_users = pl.DataFrame(
        {
            "user": np.arange(users),
            "gender": rng.choice(["F", "M"], users),
            "age": rng.integers(18, 70, users) + 0.5,
        }
    )
    vocabularies = tm.Vocabulary(np.arange(users)), tm.Vocabulary(np.arange(items))
    return tm.Dataset.from_events(
        *vocabularies,
        frame["user"].to_numpy().astype(np.int32) + 1,
        frame["item"].to_numpy().astype(np.int32) + 1,
        frame["timestamp"].to_numpy(),
        frame["rating"].to_numpy().astype(np.float32),
        context=frame.select("device"),
        item_table=about_items,
        user_table=about_users,
    )
