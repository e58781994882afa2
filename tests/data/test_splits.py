from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data.splits import GlobalTime, LeaveOneOut, RandomPerUser, Split, UserKFold
from tastemap.errors import DataError, ParameterError

SPLITS = [
    GlobalTime(),
    GlobalTime(test=0.2, validation=0.0, gap=86_400.0),
    LeaveOneOut(),
    LeaveOneOut(validation=False),
    RandomPerUser(test=0.25, validation=0.25, seed=3),
    UserKFold(folds=4, fold=1),
]


def held(split: Split) -> list[tm.Holdout]:
    return [part for part in (split.validation, split.test) if part is not None]


@pytest.mark.parametrize("splitter", SPLITS, ids=repr)
def test_parts_do_not_overlap_and_lose_nothing(splitter: GlobalTime, movies: tm.Dataset) -> None:
    split = splitter.split(movies)
    h = movies.histories
    whole = list(zip(h.rows_of_events().tolist(), h.items.tolist(), strict=True))
    t = split.train.histories
    parts = list(zip(t.rows_of_events().tolist(), t.items.tolist(), strict=True))
    for holdout in held(split):
        users = holdout.queries.users[holdout.truth.rows_of_events()]
        parts += zip(users.tolist(), holdout.truth.items.tolist(), strict=True)
    assert len(parts) == len(set(parts))
    assert set(parts) <= set(whole)
    if not isinstance(splitter, UserKFold) and not getattr(splitter, "gap", 0):
        assert len(parts) == len(whole)
    assert split.train.items == movies.items
    assert (split.test.truth.counts > 0).all()


@pytest.mark.parametrize("splitter", SPLITS, ids=repr)
def test_the_fingerprint_tells_splits_apart(splitter: GlobalTime, movies: tm.Dataset) -> None:
    assert splitter.split(movies).fingerprint == splitter.split(movies).fingerprint
    others = {other.split(movies).fingerprint for other in SPLITS if other is not splitter}
    assert splitter.split(movies).fingerprint not in others


@pytest.mark.parametrize("splitter", [GlobalTime(), GlobalTime(gap=1e6), LeaveOneOut()], ids=repr)
def test_a_history_ends_before_the_test(splitter: GlobalTime, movies: tm.Dataset) -> None:
    split = splitter.split(movies)
    for holdout in held(split):
        rows = holdout.queries.histories.rows_of_events()
        assert (holdout.queries.histories.times <= holdout.queries.as_of[rows]).all()
        truth_rows = holdout.truth.rows_of_events()
        assert (holdout.truth.times >= holdout.queries.as_of[truth_rows]).all()


def test_global_time_hides_the_future_of_everybody(movies: tm.Dataset) -> None:
    split = GlobalTime(test=0.2, validation=0.1, gap=3600.0).split(movies)
    assert split.validation is not None
    assert split.train.histories.times.max() < split.validation.truth.times.min() - 3600.0
    assert split.validation.truth.times.max() < split.test.truth.times.min() - 3600.0
    share = split.test.truth.n_events / movies.n_events
    assert share == pytest.approx(0.2, abs=0.01)


def test_global_time_takes_dates(movies: tm.Dataset) -> None:
    split = GlobalTime(test="1998-03-01", validation="1998-02-01").split(movies)
    assert split.test.truth.times.min() >= 888_710_400.0
    assert split.train.histories.times.max() < 886_291_200.0


def test_a_test_history_holds_the_validation_events(movies: tm.Dataset) -> None:
    split = LeaveOneOut().split(movies)
    assert split.validation is not None
    np.testing.assert_array_equal(
        split.test.queries.histories.counts, split.validation.queries.histories.counts + 1
    )
    last = split.test.queries.histories
    np.testing.assert_array_equal(last.items[last.offsets[1:] - 1], split.validation.truth.items)


def test_leave_one_out_breaks_ties_by_the_order_of_input() -> None:
    frame = pl.DataFrame(
        {"user": ["u"] * 4, "item": ["a", "b", "c", "d"], "timestamp": [5, 9, 9, 9]}
    )
    split = LeaveOneOut().split(tm.Dataset.from_frame(frame))
    assert split.train.items.ids(split.test.truth.items) == ["d"]
    assert split.validation is not None
    assert split.train.items.ids(split.validation.truth.items) == ["c"]
    assert "Ties" in split.description
    assert "leaks" in split.description


def test_leave_one_out_asks_in_the_circumstances_of_the_event() -> None:
    frame = pl.DataFrame(
        {
            "user": ["b", "a", "b", "a", "c", "b", "a", "b"],
            "item": ["x", "y", "z", "x", "z", "y", "z", "w"],
            "timestamp": [1, 2, 3, 4, 5, 6, 7, 8],
            "hour": ["am", "am", "pm", "pm", "am", "am", "pm", "pm"],
        }
    )
    split = LeaveOneOut().split(tm.Dataset.from_frame(frame, context=["hour"]))
    for part, expected in (
        (split.test, {"b": "pm", "a": "pm"}),
        (split.validation, {"b": "am", "a": "pm"}),
    ):
        assert part is not None and part.queries.context is not None
        who = split.train.users.ids(part.queries.users)
        assert dict(zip(who, part.queries.context["hour"], strict=True)) == expected
    parts = GlobalTime().split(tm.Dataset.from_frame(frame, context=["hour"]))
    assert parts.test.queries.context is None


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.6), st.floats(0.0, 0.35), st.integers(0, 100))
def test_random_shares_are_met_for_each_user(test: float, validation: float, seed: int) -> None:
    frame = pl.DataFrame(
        {"user": [u for u in range(20) for _ in range(u + 3)], "item": list(range(20 * 3 + 190))}
    )
    data = tm.Dataset.from_frame(frame)
    split = RandomPerUser(test=test, validation=validation, seed=seed).split(data)
    expected = np.rint(test * np.arange(3, 23))
    assert split.test.truth.counts.tolist() == expected[expected > 0].tolist()


def test_every_user_is_held_out_once(movies: tm.Dataset) -> None:
    tested = [
        user
        for split in UserKFold(folds=3).splits(movies)
        for user in split.test.queries.users.tolist()
    ]
    assert sorted(tested) == list(range(1, 944))
    split = UserKFold(folds=3).split(movies)
    assert (split.train.histories.counts[split.test.queries.users] == 0).all()
    given_share = split.test.queries.histories.n_events / (
        split.test.queries.histories.n_events + split.test.truth.n_events
    )
    assert given_share == pytest.approx(0.8, abs=0.01)


def test_bad_arguments_are_named(movies: tm.Dataset) -> None:
    with pytest.raises(ParameterError, match="test must be"):
        GlobalTime(test=1.5)
    with pytest.raises(ParameterError, match="together"):
        RandomPerUser(test=0.6, validation=0.6)
    with pytest.raises(ParameterError, match="not a date"):
        GlobalTime(test="yesterday").split(movies)
    with pytest.raises(ParameterError, match="before test"):
        GlobalTime(test="1998-02-01", validation="1998-03-01").split(movies)
    with pytest.raises(ParameterError, match="fold must be"):
        UserKFold(folds=3, fold=3)
    with pytest.raises(DataError, match="no event to test on"):
        GlobalTime(test="2020-01-01").split(movies)
    with pytest.raises(DataError, match="no event to train on"):
        GlobalTime(test="1990-01-01", validation=0.0).split(movies)
    untimed = tm.Dataset.from_frame(pl.DataFrame({"user": [1, 2], "item": [1, 2]}))
    with pytest.raises(DataError, match="needs the times"):
        GlobalTime().split(untimed)
