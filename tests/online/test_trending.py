"""What is popular now follows the log, within bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import tastemap as tm
from tastemap.data.candidates import Candidates
from tastemap.data.histories import Histories
from tastemap.online.engine import Engine
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.online.questions import Ask, Found
from tastemap.online.trending import Trending
from tastemap.pipeline.fallback import Fallback

DAY = 86_400.0
START = 1e9


@pytest.fixture(scope="module")
def pipeline() -> tm.Pipeline:
    """40 items, the more popular the lower their number."""
    rng = np.random.default_rng(0)
    rows = {
        (f"u{user}", f"i{item}")
        for user in range(80)
        for item in np.minimum(rng.geometric(0.15, 10), 40).tolist()
    }
    events = pl.DataFrame(sorted(rows), schema=["user", "item"], orient="row")
    users = pl.DataFrame(
        {"user": [f"u{u}" for u in range(80)], "gender": ["F" if u % 2 else "M" for u in range(80)]}
    )
    return tm.Pipeline([tm.ItemKNN()]).fit(tm.Dataset.from_frame(events, users=users))


def takes(item: str, users: range, time: float = START) -> list[Event]:
    return [Event(f"s{user}", item, "event", time, 1.0) for user in users]


def first(engine: Engine, **asked: dict[str, str]) -> tuple[str, str]:
    answer = engine.answer([Ask(10, "a stranger", **asked)])[0]
    assert isinstance(answer, Found)
    return answer.items[0].card.item, answer.items[0].reason


def test_what_many_take_now_gets_to_the_top_and_stays_after_a_swap(
    pipeline: tm.Pipeline, tmp_path: Path
) -> None:
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(pipeline)
    log = EventLog(tmp_path / "state")
    engine = Engine(tmp_path / "store", log)
    before = first(engine)
    # One who takes it again and again does not count for many, and a few are few.
    engine.record(
        [takes("i30", range(3)) + [takes("i30", range(1), START + n)[0] for n in range(99)]]
    )
    engine.refresh()
    assert first(engine) == before
    engine.record([takes("i30", range(30))])
    engine.refresh()
    assert first(engine) == ("i30", "Popular right now")
    # Those of a profile hear of it too, and so does the list for the worst of times.
    item, reason = first(engine, profile={"gender": "F"})
    assert (item, reason) == ("i30", "Popular with women")
    assert engine.serving.popular(Ask(1)).items[0].card.item == "i30"
    # A release that has learned from the log knows that it is recent.
    store.publish(pipeline, about={"event_log_offset": log.last_offset})
    engine.follow()
    assert first(engine)[0] == "i30"
    log.close()
    log = EventLog(tmp_path / "state")
    assert first(Engine(tmp_path / "store", log))[0] == "i30"
    log.close()


def test_takes_halve_with_the_half_life() -> None:
    trending = Trending(4, 3 * DAY)
    trending.add(["a", "b"], np.array([1, 1], np.int32), np.array([START, START]))
    for day in range(1, 31):
        users = [f"u{day}-{n}" for n in range(400)]
        times = np.full(400, START + day * DAY / 10)
        trending.add(users, np.full(400, 2, np.int32), times)
    items, counts = trending.takes()
    assert items.tolist() == [1, 2]
    assert counts[0] == pytest.approx(2 * 0.5 ** (3 / 3), rel=0.03)
    expected = sum(400 * 0.5 ** ((30 - day) / 30) for day in range(1, 31))
    assert counts[1] == pytest.approx(expected, rel=0.03)
    # What comes late counts as old as it is.
    trending.add(["late"], np.array([3], np.int32), np.array([START]))
    assert trending.takes()[1][-1] == pytest.approx(0.5, rel=0.03)


def test_clocks_that_jump_do_no_lasting_harm() -> None:
    trending = Trending(4, 3 * DAY)

    def take(item: int, n: int, time: float, name: str) -> None:
        users = [f"{name}{each}" for each in range(n)]
        trending.add(users, np.full(n, item, np.int32), np.full(n, time))

    take(1, 300, START, "a")
    before = dict(zip(*map(list, trending.takes()), strict=True))
    take(2, 20, START + 3650 * DAY, "wrong")  # a few clocks are years ahead
    counts = dict(zip(*map(list, trending.takes()), strict=True))
    assert counts[1] == before[1]
    assert counts[2] == 20
    take(2, 300, START + 3650 * DAY, "jump")  # all are, and come back
    take(3, 300, START + 60, "back")
    counts = dict(zip(*map(list, trending.takes()), strict=True))
    take(3, 10, START + 120, "after")
    after = dict(zip(*map(list, trending.takes()), strict=True))
    assert after[3] == pytest.approx(counts[3] + 10, rel=0.01)


def test_popularity_drifts_within_bounds_and_comes_back(pipeline: tm.Pipeline) -> None:
    n = len(pipeline.items)
    fallback = Fallback.fit(pipeline.data)
    groups = np.arange(3)
    assert len(fallback.shares) == 3

    def shares() -> NDArray[np.float32]:
        items, scores = fallback.best(groups, n - 1, Histories.empty(3), None)
        assert (np.diff(scores, axis=1) <= 0).all()
        found = np.zeros((3, n), np.float32)
        np.put_along_axis(found, items, scores, axis=1)
        return found

    own = shares()
    np.testing.assert_array_equal(own[:, 1:], fallback.shares[:, 1:])
    most, together = own[0].max(), own[0].sum()
    fallback.follow(np.array([7, 30], np.int32), np.array([20.0, 1.0]))
    lifts = shares() - own
    np.testing.assert_allclose(lifts[:, 7], most, rtol=1e-5)
    np.testing.assert_allclose(lifts[:, 30], most / 20, rtol=1e-5)
    assert not np.delete(lifts, [7, 30], axis=1).any()
    for takes in (1e3, 1e9):
        fallback.follow(np.array([30, 9], np.int32), np.array([takes, takes]))
        lifts = shares() - own
        assert lifts[0].sum() <= 4 * together * 1.001
        assert not np.delete(lifts, [9, 30], axis=1).any()
    fallback.follow(np.empty(0, np.int32), np.empty(0))
    np.testing.assert_array_equal(shares(), own)


def test_what_a_ranker_knows_of_an_item_follows_the_log(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    events = pl.DataFrame(
        {
            "user": [f"u{user}" for user in rng.integers(0, 60, 1500)],
            "item": [f"i{item}" for item in rng.integers(0, 30, 1500)],
            "time": START - np.arange(1500.0) * 600,
        }
    )
    data = tm.Dataset.from_frame(events)
    pipeline = tm.Pipeline([tm.ItemKNN()], ranker=tm.DCNv2(dim=4, hidden=8, epochs=5))
    store = tm.ReleaseStore(tmp_path / "store")
    store.publish(pipeline.fit(data, run=tm.Run(device="cpu", progress=False)))
    log = EventLog(tmp_path / "state")
    engine = Engine(tmp_path / "store", log)

    def known() -> tuple[float, float]:
        """The popularity of an item as the ranker's feature, and the score of an answer with it."""
        served = engine.serving.pipeline
        assert served.stage is not None
        queries, items = served.data.queries(np.array([3])), served.items.rows(["i7"])
        proposed = Candidates(
            np.array([0, 1]), items, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32),
            served.stage.features.sources,
        )  # fmt: skip
        features = served.stage.features
        scores, _ = served.stage.ranked(queries, proposed)
        return float(features.popularity(queries, proposed)[0]), float(scores[0])

    before = known()
    assert known() == before
    engine.record([takes("i7", range(300), START + DAY)])
    engine.refresh()
    after = known()
    assert after[0] > before[0] + 1
    assert after[1] != before[1]
    log.close()
