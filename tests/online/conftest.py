"""A release of movielens-100k and a server of it, made once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from served import Served

import tastemap as tm


@pytest.fixture(scope="session")
def pipeline(movies: tm.Dataset) -> tm.Pipeline:
    return tm.Pipeline([tm.EASE()]).fit(movies)


@pytest.fixture(scope="session")
def release(pipeline: tm.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.save(tmp_path_factory.mktemp("release") / "pipeline")


@pytest.fixture(scope="session")
def served(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that the tests share, each with users of its own."""
    with Served(release, tmp_path_factory.mktemp("state")) as served:
        yield served


def few_items() -> tm.Dataset:
    """Users u0 to u6 and items i0 to i10."""
    frame = pl.DataFrame(
        {
            "user": [f"u{n % 7}" for n in range(60)],
            "item": [f"i{(n * n + n // 7) % 11}" for n in range(60)],
        }
    )
    return tm.Dataset.from_frame(frame, user="user", item="item")


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline over `few_items`."""
    pipeline = tm.Pipeline([tm.ItemKNN()]).fit(few_items())
    return pipeline.save(tmp_path_factory.mktemp("few") / "release")


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of two workers over a small release of the items i0 to i10; its state is beside the
    release."""
    folder = tmp_path_factory.mktemp("workers")
    model = tm.ItemKNN().fit(few_items())
    tm.ReleaseStore(folder / "store").publish(model)
    with Served(folder / "store", folder / "state", workers=2) as served:
        yield served
        processes = served.workers()
    assert served.process.returncode == 0
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of 40 users and 30 items of two tastes, which is made and loaded at once."""
    rng = np.random.default_rng(5)
    rows = [
        (f"u{user}", f"i{item + 15 * (user % 2)}", 1_700_000_000 + 60 * int(rng.integers(10_000)))
        for user in range(40)
        for item in rng.choice(15, size=6, replace=False)
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    data = tm.Dataset.from_frame(frame, user="user", item="item", time="time")
    folder = tmp_path_factory.mktemp("small")
    return tm.Pipeline([tm.ItemKNN()]).fit(data).save(folder / "pipeline")
