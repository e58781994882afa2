"""A release that loads, and then fails when it is asked: the one before comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import tastemap as tm
from tastemap.errors import ReleaseError
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.questions import Ask, Found, SimilarTo
from tastemap.online.watchdog import Counts

FRAME = pl.DataFrame(
    {
        "user": [f"u{n % 7}" for n in range(60)],
        "item": [f"i{(n * n + n // 7) % 11}" for n in range(60)],
        "timestamp": [float(n) for n in range(60)],
    }
)


def fitted(rows: int = 60) -> tm.Pipeline:
    data = tm.Dataset.from_frame(FRAME.head(rows), user="user", item="item", time="timestamp")
    return tm.Pipeline([tm.BPR(factors=4, epochs=2)]).fit(data)


def broken() -> tm.Pipeline:
    """Its files are whole, and strangers are answered; the vectors of the users are missing."""
    pipeline = fitted(50)
    (model,) = pipeline.retrievers
    assert isinstance(model, tm.BPR)
    model.user_factors = model.user_factors[:1]
    return pipeline


@pytest.fixture
def store(tmp_path: Path) -> tm.ReleaseStore:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(fitted())
    return store


@pytest.fixture
def engine(store: tm.ReleaseStore, tmp_path: Path) -> Iterator[Engine]:
    log = EventLog(tmp_path / "state")
    yield Engine(store.path, log)
    log.close()


def ask(engine: Engine, times: int) -> int:
    """How many of so many questions were answered by all stages."""
    answered = 0
    for _ in range(times):
        (answer,) = engine.answer([Ask(3, user="u1")])
        assert isinstance(answer, Found)
        answered += not answer.degraded
    return answered


def test_the_engine_goes_back_and_the_store_remembers(
    engine: Engine, store: tm.ReleaseStore
) -> None:
    good = store.current_version()
    assert ask(engine, 50) == 50
    bad = store.publish(broken()).version
    engine.follow()
    assert engine.serving.version == bad
    assert ask(engine, 30) == 0
    engine.follow()
    assert (engine.serving.version, store.current_version()) == (good, good)
    assert ask(engine, 30) == 30
    assert "30 of 30 answers failed" in str(store.get(bad).refused)
    # A roll back from the next one leads past it, and a person may still insist on it.
    store.publish(fitted(55))
    assert store.roll_back().version == good
    assert store.roll_back(to=bad).refused is None


def test_a_question_that_is_wrong_is_no_failure(engine: Engine, store: tm.ReleaseStore) -> None:
    store.publish(fitted(50))
    engine.follow()
    for _ in range(50):
        engine.answer([SimilarTo("no such item", 3)])
    assert engine.watchdog.counts() == Counts(50, 0)


def test_degraded_answers_that_others_count_are_looked_at(
    engine: Engine, store: tm.ReleaseStore
) -> None:
    total = Counts(500, 1)
    engine.watchdog.counts = lambda: total
    good = store.current_version()
    store.publish(fitted(50))
    engine.follow()
    total = Counts(600, 81)
    engine.follow()
    assert store.current_version() == good


def test_a_store_that_cannot_be_written_is_served_from_all_the_same(
    engine: Engine, store: tm.ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = store.current_version()
    bad = store.publish(broken()).version
    engine.follow()
    assert ask(engine, 40) == 0

    def full(*_: object) -> None:
        raise ReleaseError("the disk is full")

    monkeypatch.setattr(tm.ReleaseStore, "refuse", full)
    for _ in range(3):
        engine.follow()
        assert engine.serving.version == good
        assert "the disk is full" in str(engine.problem)
    assert ask(engine, 40) == 40
    assert store.current_version() == bad


def test_where_there_is_nothing_to_go_back_to_the_release_stays(store: tm.ReleaseStore) -> None:
    only = store.current_version()
    with pytest.raises(ReleaseError, match="none to go back to"):
        store.refuse(only, "it fails")
    assert (store.current_version(), store.get(only).refused) == (only, None)


def test_a_damaged_release_is_passed_over_on_the_way_back(store: tm.ReleaseStore) -> None:
    first = store.current_version()
    second = store.publish(fitted(55))
    third = store.publish(fitted(50))
    (second.path / "manifest.toml").write_text("")
    assert store.refuse(third.version, "it fails").version == first
    assert store.refuse(third.version, "another worker says so too").version == first


def test_a_refusal_outlives_the_removal_of_a_user(store: tm.ReleaseStore) -> None:
    bad = store.publish(fitted(50)).version
    store.refuse(bad, "it fails")
    store.forget_user("u1")
    refused = [release for release in store.list() if release.refused]
    assert [release.refused for release in refused] == ["it fails"]
    assert refused[0].version != bad
    assert refused[0].version[:16] == bad[:16]
    # Whoever still knows it by its old name refuses the same release.
    now = store.publish(fitted(55)).version
    store.forget_user("u2")
    assert store.current_version() != now
    assert store.refuse(now, "it fails too").version[:16] < now[:16]


def test_a_release_replaces_only_the_one_it_was_compared_with(store: tm.ReleaseStore) -> None:
    first = store.current_version()
    store.forget_user("u1")
    second = store.publish(fitted(55), replacing=first)  # the same, without a user
    with pytest.raises(ReleaseError, match=f"meanwhile .* serves {second.version}"):
        store.publish(fitted(50), replacing=first)
    assert store.current_version() == second.version
