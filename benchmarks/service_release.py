"""Releases over generated worlds, for measurements of the service; made once and kept.

Quality does not matter here, so that training is short, and everything else is the real thing: ALS
of 64 numbers behind the index that `index_for` chooses, features as of the moment, and DCN-v2 as it
is by default, learned from what the retriever proposes out of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path.home() / ".cache" / "tastemap" / "service-load"
CANDIDATES = 500


def release_of(users: int, items: int, ranked: bool, folder: Path = FOLDER) -> Path:
    """A saved pipeline over a world of this size, which has 10 events a user and 3 an item."""
    from tastemap.storage import is_directory

    path = folder / f"{users}-users-{items}-items{'-ranked' if ranked else ''}"
    if not is_directory(path):
        pipeline_of(dataset_of(users, items, folder), ranked).save(path, overwrite=True)
    return path


def pipeline_of(data: Any, ranked: bool) -> Any:
    """Retrieval alone, or with a ranker."""
    import tastemap as tm

    retriever = tm.ALS(factors=64, iterations=2)
    run = tm.Run(device="cpu", progress=False)
    if not ranked:
        return tm.Pipeline([retriever]).fit(data, run=run)
    ranker = tm.DCNv2(epochs=3)
    rows = tm.OutOfTime(limit=2000)
    return tm.Pipeline([retriever], candidates=CANDIDATES, ranker=ranker, rows=rows).fit(
        data, run=run
    )


def dataset_of(users: int, items: int, folder: Path) -> Any:
    """The events of a world, in whose vocabulary all of its items are, even those without any."""
    import polars as pl
    import pyarrow as pa

    import tastemap as tm
    from tastemap.simulation.world import World

    world = folder / f"world-{users}-{items}"
    if not world.exists():
        folder.mkdir(parents=True, exist_ok=True)
        World(users, items, max(10 * users, 3 * items), strength=12.0).write(world)
    events = pl.read_parquet(world / "events.parquet")
    kinds = ["view", "like", "purchase"]
    return tm.Dataset.from_events(
        tm.Vocabulary(pa.array(np.arange(1, users + 1))),
        tm.Vocabulary(pa.array(np.arange(1, items + 1))),
        events["user"].to_numpy().astype(np.int32),
        events["item"].to_numpy().astype(np.int32),
        events["timestamp"].to_numpy().astype(np.float64),
        kinds=events["kind"]
        .replace_strict({k: n for n, k in enumerate(kinds)}, return_dtype=pl.UInt8)
        .to_numpy(),
        kind_names=kinds,
        item_table=pl.read_parquet(world / "items.parquet"),
        user_table=pl.read_parquet(world / "users.parquet"),
    )
