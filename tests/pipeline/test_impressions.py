"""What was shown and where, as what the second stage learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.impressions import Impressions, taken_and_shown
from tastemap.errors import DataError
from tastemap.pipeline.ranking_stage import OutOfTime
from tastemap.retrieval.popularity import Popularity

RUN = tm.Run(device="cpu", progress=False)
USERS, ITEMS, SHOWN, DAYS = 60, 50, 8, 12
DAY = 86_400.0
CONTEXT = ["device", "position"]


def sessions() -> tuple[pl.DataFrame, pl.DataFrame]:
    """What everybody was shown each day, and what they took of it: a little by its place, a little
    by the item; and each day something that nobody had shown them."""
    rng = np.random.default_rng(0)
    worth = rng.normal(size=ITEMS)
    users, days = (each.ravel() for each in np.meshgrid(np.arange(USERS), np.arange(DAYS)))
    items = rng.random((len(users), ITEMS)).argsort(1)[:, :SHOWN]
    odds = worth[items] - np.log(np.arange(1, SHOWN + 1))
    begin = (days + 1) * DAY + rng.integers(0, 3600, len(users))
    shown = pl.DataFrame(
        {
            "user": np.repeat(users, SHOWN),
            "item": items.ravel(),
            # A second passes from one to the next.
            "time": (begin[:, None] + np.arange(SHOWN)).ravel(),
            "position": np.tile(np.arange(1, SHOWN + 1), len(users)),
            "device": np.repeat(rng.choice(["phone", "tv"], len(users)), SHOWN),
            "taken": (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).ravel(),
        }
    )
    found = pl.DataFrame(
        {"user": users, "item": rng.integers(0, ITEMS, len(users)), "time": begin + 600}
    )
    clicks = shown.filter("taken").with_columns(pl.col("time") + 30).drop("taken")
    return shown.drop("taken"), pl.concat([clicks, found], how="diagonal").sort("time")


SHOWN_LOG, TAKEN = sessions()
LOG = tm.Dataset.from_frame(SHOWN_LOG, context=CONTEXT)
DATA = tm.Dataset.from_frame(TAKEN, context=CONTEXT)


def test_what_is_shown_without_a_pause_is_one_request() -> None:
    frame = pl.DataFrame(
        {
            "user": [7, 7, 7, 7, 99, 8, 7, 7],
            "item": [1, 2, 1, 3, 1, 77, 2, 3],
            "time": [100, 130, 140, 300, 100, 100, 301, 1_000_000],
            "position": [1, 2, 9, None, 1, 1, 4, 1],
        }
    )
    taken = pl.DataFrame(
        {"user": [7, 7, 7, 8], "item": [1, 2, 3, 3], "time": [99, 100, 310, 500]},
        schema_overrides={"time": pl.Float64},
    ).with_columns(device=pl.lit("tv"))
    data = tm.Dataset.from_frame(taken, context=["device"])
    found = Impressions.of(tm.Dataset.from_frame(frame, context=["position"]), data)
    # Nobody knows user 99 and item 77, and nothing is known of what came after the last event.
    assert data.users.ids(found.moments.users) == [7, 7]
    assert data.items.ids(found.items) == [1, 2, 2, 3]
    assert found.offsets.tolist() == [0, 2, 4]
    assert found.positions.tolist() == [1, 2, 4, 0]
    assert found.moments.as_of.tolist() == [100, 300]
    # What happened when it was shown is not known then.
    assert (found.moments.stop - found.moments.start).tolist() == [1, 2]
    assert found.moments.context is not None
    assert found.moments.context["device"].to_list() == [None, None]


def test_what_was_passed_over_is_negative_and_has_its_place() -> None:
    rows = OutOfTime(moments=2, negatives=10, horizon=5)
    impressions = Impressions.of(LOG, DATA)
    plain = rows.rows(DATA, [Popularity()], 20, RUN)[0]
    assert plain.positions is None
    log = LOG.to_frame().select("user", "time", "item", "position")
    places = {(user, time, item): place for user, time, item, place in log.iter_rows()}
    for shown in rows.rows(DATA, [Popularity()], 20, RUN, impressions=impressions):
        assert shown.positions is not None
        h, of = shown.moments.histories, shown.candidates.rows_of_queries()
        asked = 0
        for moment, user in enumerate(shown.moments.users):
            mine = of == moment
            if not shown.positions[mine].any():
                continue
            asked += 1
            start = shown.moments.stop[moment]
            taken = h.items[start : min(start + 5, h.offsets[user + 1])].tolist()
            items = shown.candidates.items[mine].tolist()
            assert shown.labels[mine].tolist() == [item in taken for item in items]
            # All that was seen is there, at its place.
            known = {
                (DATA.items.ids([item])[0], place)
                for item, place in zip(items, shown.positions[mine].tolist(), strict=True)
                if place
            }
            who, begun = DATA.users.ids([user])[0], shown.moments.as_of[moment]
            expected = {
                (item, place)
                for (user_id, time, item), place in places.items()
                if user_id == who and begun <= time < begun + SHOWN
            }
            assert known == expected
            assert (shown.labels[mine] == 0).sum() <= 10
        assert asked > 3
    # Only what came after the retrievers' training is asked about.
    train = rows.rows(DATA, [Popularity()], 20, RUN, impressions=impressions)[0]
    assert train.moments.as_of.min() >= np.quantile(DATA.histories.times, 0.8, method="nearest")
    assert len(train.moments) > len(plain.moments)


@pytest.mark.parametrize("ranker", [tm.LightGBMRanker(trees=10), tm.FM(dim=4, epochs=2)])
def test_a_pipeline_learns_from_what_was_shown(ranker: Any) -> None:
    rows = OutOfTime(moments=2, negatives=10, horizon=5)
    pipeline = tm.Pipeline([tm.Popularity()], candidates=30, ranker=ranker, rows=rows)
    pipeline.fit(DATA, impressions=LOG, run=RUN)
    assert pipeline.stage is not None
    names = pipeline.stage.features.schema.names
    assert "request.device" in names
    assert not [name for name in names if "position" in name]
    with_places = pipeline.recommend([1, 2], k=5)
    assert with_places.height == 10
    again = pipeline.unfitted().fit(DATA, run=RUN).recommend([1, 2], k=5)
    assert not again["score"].equals(with_places["score"])


def test_a_log_may_have_what_was_shown_among_what_was_taken() -> None:
    shown, taken = SHOWN_LOG.with_columns(kind=pl.lit("impression")), TAKEN.sort("user", "time")
    kinds = pl.Series("kind", ["view", "buy"] * taken.height)[: taken.height]
    both = tm.Dataset.from_frame(
        pl.concat([shown, taken.with_columns(kinds)], how="diagonal"), context=CONTEXT
    )
    alone, logged = taken_and_shown(both)
    assert logged is not None
    assert alone.kind_names == ("view", "buy")
    known = ["user", "item", "time"]
    assert (
        alone.to_frame().sort(known)["kind"].equals(taken.with_columns(kinds).sort(known)["kind"])
    )
    assert logged.to_frame().sort(known).select(known).equals(LOG.to_frame().sort(known)[known])
    assert taken_and_shown(alone) == (alone, None)
    with pytest.raises(DataError, match="none what was taken"):
        taken_and_shown(logged)
    ranker, rows = tm.FM(dim=4, epochs=2), OutOfTime(moments=2, negatives=10, horizon=5)
    pipeline = tm.Pipeline([tm.Popularity()], candidates=30, ranker=ranker, rows=rows)
    joined = pipeline.fit(both, run=RUN).recommend([1, 2], k=5)
    apart = pipeline.unfitted().fit(alone, impressions=logged, run=RUN).recommend([1, 2], k=5)
    assert joined.equals(apart)


def test_what_cannot_be_used_is_said() -> None:
    timeless = tm.Dataset.from_frame(SHOWN_LOG.drop("time"))
    with pytest.raises(DataError, match="the impressions have no times"):
        Impressions.of(timeless, DATA)
    with pytest.raises(DataError, match="the events have no times"):
        Impressions.of(LOG, timeless)
    from_0 = tm.Dataset.from_frame(
        SHOWN_LOG.with_columns(pl.col("position") - 1), context=["position"]
    )
    with pytest.raises(DataError, match=r"column 'position'.*value 0: .*whole number from 1"):
        Impressions.of(from_0, DATA)
