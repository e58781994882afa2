"""A small shop with everything that rules look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

import tastemap as tm
from tastemap.data.queries import Queries

DAY = 86_400.0
TODAY = 1_700_000_000.0
N = 12


def shop() -> tm.Dataset:
    """Items i1 to i12 of authors a, b and c, and six users."""
    items = pl.DataFrame(
        {
            "item": [f"i{n}" for n in range(1, N + 1)],
            "author": ["a", "a", "a", "b", "b", "b", "c", "c", "c", "c", None, "a"],
            "tags": [["x"], ["x", "y"], ["y"], [], None, ["z"]] * 2,
            "genres": ["Drama|Horror", "Drama", "Comedy", "", None, "Horror"] * 2,
            "stock": [3, 0, 1, None, 5, 1, 1, 1, 1, 1, 1, 1],
            "on_sale": [True, False, None] * 4,
            "min_age": [0, 0, 6, 12, 16, 18, None, 0, 0, 0, 0, 0],
            "rating": ["G", "R", "PG", "G", None, "G", "G", "G", "NC", "G", "G", "R"],
            "latitude": [55.75, 59.94, 52.52, None, 48.85, 40.71] + [None] * 6,
            "longitude": [37.62, 30.31, 13.40, 2.0, 2.35, -74.0] + [None] * 6,
            "year": [1990, 2000, 2010, 2020, 2023, None] * 2,
            "released": [date(2023, 11, n) for n in range(1, N + 1)],
            "price": [1.5 * n for n in range(1, N + 1)],
        }
    )
    users = pl.DataFrame(
        {
            "user": [f"u{n}" for n in range(1, 7)],
            "age": [5, 12, 18, 40, None, -3],
            "country": ["DE", "FR", "DE", None, "US", "US"],
        }
    )
    rng = np.random.default_rng(3)
    events = pl.DataFrame(
        {
            "user": [f"u{n}" for n in rng.integers(1, 7, 200)],
            "item": [f"i{n}" for n in np.minimum(rng.geometric(0.2, 200), N)],
            "time": TODAY - DAY * rng.uniform(0, 100, 200),
        }
    )
    return tm.Dataset.from_frame(events, items=items, users=users)


def asked(
    n: int,
    *,
    profile: Mapping[str, Sequence[Any]] | None = None,
    context: Mapping[str, Sequence[Any]] | None = None,
) -> Queries:
    """n strangers who ask on a day in November 2023."""
    return Queries.of(
        tm.Histories.empty(n),
        as_of=np.full(n, TODAY),
        profile=None if profile is None else pl.DataFrame(profile),
        context=None if context is None else pl.DataFrame(context),
    )


def names(data: tm.Dataset, mask: Any) -> list[str]:
    """The ids of the items that a mask lets through."""
    rows = np.arange(1, len(data.items)) if mask is None else np.flatnonzero(mask)
    return sorted(data.items.ids(rows), key=lambda item: int(item[1:]))
