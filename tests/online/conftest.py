"""A release of movielens-100k and a server of it, made once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
