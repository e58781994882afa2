"""Indices that a server holds: what a release keeps of them, and servers that fail."""

from __future__ import annotations

import concurrent.futures
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from servers import PostgresServer, free_port

import tastemap as tm
from tastemap.errors import MissingExtraError, ParameterError, ReleaseError, UnavailableError
from tastemap.index.milvus import MilvusIndex
from tastemap.index.pgvector import PgVectorIndex
from tastemap.index.remote import RemoteIndex
from tests.index.vectors import clustered

VECTORS, QUERIES = clustered(300, 8)
ROWS = np.arange(1, 301)


@pytest.fixture(params=["milvus", "pgvector"])
def index(request: pytest.FixtureRequest) -> Iterator[RemoteIndex]:
    index: RemoteIndex = request.getfixturevalue(f"in_{request.param}")
    yield index.build(ROWS, VECTORS, queries=QUERIES)
    index.drop()


def nearest(index: RemoteIndex, k: int = 10) -> np.ndarray:
    return index.search(QUERIES, k)[0]


def test_a_release_holds_the_place_and_no_vectors(index: RemoteIndex, tmp_path: Path) -> None:
    path = index.save(tmp_path / "index")
    assert sum(file.stat().st_size for file in path.iterdir()) < VECTORS.nbytes
    again = tm.load(path)
    assert again.name_on_server == index.name_on_server
    assert again.address == index.address in (path / "manifest.toml").read_text()
    np.testing.assert_array_equal(nearest(again), nearest(index))


def test_builds_stand_side_by_side(index: RemoteIndex) -> None:
    other = type(index)(**index.hyperparameter_values()).build(ROWS[:50], -VECTORS[:50])
    assert other.name_on_server != index.name_on_server
    assert nearest(other).max() <= 50 < nearest(index).max()
    other.drop()
    assert (nearest(index) > 0).all()


def test_a_collection_that_has_gone_is_an_error(index: RemoteIndex, tmp_path: Path) -> None:
    path = index.save(tmp_path / "index")
    index.drop()
    with pytest.raises(ReleaseError, match=rf"no collection {index.name_on_server}.*anew"):
        tm.load(path)
    with pytest.raises(UnavailableError, match=f"no collection {index.name_on_server}"):
        index.search(QUERIES, 1)


def test_a_collection_of_other_vectors_is_an_error(index: RemoteIndex, tmp_path: Path) -> None:
    path = index.save(tmp_path / "index")
    other = type(index)(**index.hyperparameter_values())
    index.drop()
    other.dim, other.name_on_server = 3, index.name_on_server
    other._make(ROWS.astype(np.int32), VECTORS[:, :3].copy(), 1)
    with pytest.raises(ReleaseError, match="vectors of 8 numbers"):
        tm.load(path)


def test_what_another_process_adds_takes_no_places(index: RemoteIndex, tmp_path: Path) -> None:
    here, there = index, tm.load(index.save(tmp_path / "index"))
    before = nearest(here)
    # Nearer to all queries than what was there; some have numbers that this process does not hold.
    strangers = np.arange(290, 330)
    there.add(strangers[11:], 50 * np.repeat(QUERIES[:1], 29, axis=0))
    there.remove(strangers[:11])
    assert (nearest(there)[0] >= 301).all()
    found = nearest(here)
    assert (found > 0).all() and found.max() < 290
    kept = [row[row < 290] for row in before]
    for rows, left in zip(found, kept, strict=True):
        assert rows[: len(left)].tolist() == left.tolist()
    # What this one adds too is found by both.
    here.add(strangers[11:12], 50 * QUERIES[:1])
    assert nearest(here)[0, 0] == 301


@pytest.mark.parametrize("name", ["", "1st", 'a"; DROP TABLE x; --', "a b", "a" * 41, "ä"])
@pytest.mark.parametrize("kind", [MilvusIndex, PgVectorIndex])
def test_names_are_checked(kind: type[RemoteIndex], name: str) -> None:
    with pytest.raises(ParameterError, match="collection must be"):
        kind(collection=name)


def test_a_name_in_a_release_is_checked(in_pgvector: PgVectorIndex, tmp_path: Path) -> None:
    in_pgvector.build(ROWS, VECTORS)
    in_pgvector.name_on_server += '"; DROP TABLE x; --'
    path = in_pgvector.save(tmp_path / "index")
    with pytest.raises(ReleaseError, match="names no collection"):
        tm.load(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MilvusIndex(address="http://root:sesame@127.0.0.1:19530"),
        lambda: PgVectorIndex(address="host=127.0.0.1 password=sesame"),
        lambda: PgVectorIndex(address="postgresql://me:sesame@127.0.0.1/db"),
    ],
)
def test_passwords_are_not_taken_with_the_address(make: Callable[[], RemoteIndex]) -> None:
    with pytest.raises(ParameterError, match="environment as") as caught:
        make()
    assert "sesame" not in str(caught.value)


def test_an_address_that_makes_no_sense() -> None:
    with pytest.raises(ParameterError, match="libpq"):
        PgVectorIndex(address="no such thing")


def test_pgvector_looks_at_its_lists(in_pgvector: PgVectorIndex) -> None:
    vectors, queries = clustered(6000, 16)
    rows = np.arange(1, 6001)
    settings = in_pgvector.hyperparameter_values() | {"lists": 100}
    poor = PgVectorIndex(**settings | {"probes": 1}).build(rows, vectors, queries=queries)
    good = PgVectorIndex(**settings | {"probes": 40}).build(rows, vectors, queries=queries)
    assert poor.recall is not None and poor.recall.value < 0.9
    assert good.recall is not None and good.recall.value > 0.95
    # Few lists do not make an answer short, where a filter lets little of them through.
    allowed = np.zeros(6001, np.bool_)
    allowed[::3] = True
    found, _ = poor.search(queries, 500, allowed=allowed)
    assert (found > 0).all() and (found % 3 == 0).all()
    poor.drop()
    good.drop()


def test_a_pipeline_asks_through_a_server(in_pgvector: PgVectorIndex, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    events = pl.DataFrame({"user": rng.integers(0, 60, 900), "item": rng.integers(0, 90, 900)})
    data = tm.Dataset.from_frame(events)
    als = tm.ALS(factors=8, iterations=1).fit(data)
    settings = in_pgvector.hyperparameter_values() | {"probes": 1000}
    tm.Pipeline([als], index=lambda n: PgVectorIndex(**settings)).save(tmp_path / "pipeline")
    again = tm.load(tmp_path / "pipeline")
    users = again.users.ids(np.arange(1, 30))
    wanted = tm.Pipeline([als]).recommend(users=users, k=10)
    assert again.recommend(users=users, k=10)["item"].to_list() == wanted["item"].to_list()
    again.indices["als"].drop()


def test_a_server_that_hangs_or_is_killed(postgres: PostgresServer, tmp_path: Path) -> None:
    index = PgVectorIndex(address=postgres.address, timeout=0.5, lists=1)
    index.build(ROWS, VECTORS, queries=QUERIES)
    path = index.save(tmp_path / "index")
    before = nearest(index)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # several connections
        list(pool.map(lambda _: nearest(index), range(6)))

    def fails() -> None:
        for call in (
            lambda: index.search(QUERIES, 10),
            lambda: index.add([5, 500], 9 * QUERIES[:2]),
        ):
            began = time.monotonic()
            with pytest.raises(UnavailableError, match="PostgreSQL at 127"):
                call()
            assert time.monotonic() - began < 4
        assert len(index) == 300

    postgres.signal(signal.SIGSTOP)
    fails()
    postgres.signal(signal.SIGCONT)
    np.testing.assert_array_equal(patiently(lambda: nearest(index)), before)
    postgres.kill()
    fails()
    away = tm.load(path)  # a service starts without it
    with pytest.raises(UnavailableError):
        nearest(away)
    postgres.start()
    for here in (index, away):
        np.testing.assert_array_equal(patiently(lambda here=here: nearest(here)), before)
    index.drop()


def patiently(call: Callable[[], np.ndarray]) -> np.ndarray:
    """The result, where it may take a moment until the server is itself again."""
    end = time.monotonic() + 10
    while True:
        try:
            return call()
        except UnavailableError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_milvus_that_is_not_there(hangs: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1] if hangs else free_port()
        index = MilvusIndex(address=f"http://127.0.0.1:{port}", timeout=0.3, build_timeout=0.3)
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=f"Milvus at http://127.0.0.1:{port}"):
            index.build(ROWS, VECTORS)
        assert time.monotonic() - began < 3


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"tastemap\[pgvector\]"):
        PgVectorIndex()
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"tastemap\[milvus\]"):
        MilvusIndex().build(ROWS, VECTORS)
