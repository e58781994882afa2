"""No feature sees the future, and each is what a slow and plain reference says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from generated import DAY, dataset, events
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data.candidates import Candidates
from tastemap.data.moments import Moments
from tastemap.data.queries import Queries
from tastemap.errors import DataError, NotFittedError, ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.features.point_in_time import PointInTime

SOURCES = ("first", "second")
USERS, ITEMS = 6, 8


def asked(data: tm.Dataset, users: list[int], as_of: list[float]) -> Queries:
    """What the users ask, with their whole histories, also what is later."""
    rows = np.array(users, np.int32)
    context = pl.DataFrame({"device": ["tv", None, "unheard of"] * len(users)})[: len(users)]
    return replace(data.queries(rows), as_of=np.array(as_of), context=context)


def everything(n: int) -> Candidates:
    """All items for each query."""
    rng = np.random.default_rng(n)
    m = n * ITEMS
    scores = rng.random((m, 2)).astype(np.float32)
    ranks = rng.integers(1, 9, (m, 2)).astype(np.float32)
    scores[::3, 1] = ranks[::3, 1] = np.nan
    items = np.tile(np.arange(1, ITEMS + 1, dtype=np.int32), n)
    return Candidates(np.arange(0, m + 1, ITEMS), items, scores, ranks, SOURCES)


def assert_same(one: FeatureBatch, other: FeatureBatch) -> None:
    assert one.schema == other.schema
    np.testing.assert_array_equal(one.categorical, other.categorical)
    np.testing.assert_allclose(one.numeric, other.numeric, rtol=1e-6)
    for some, same in zip(
        one.multi_valued + one.sequences, other.multi_valued + other.sequences, strict=True
    ):
        np.testing.assert_array_equal(some.offsets, same.offsets)
        np.testing.assert_array_equal(some.rows, same.rows)


moments_asked = st.lists(
    st.tuples(st.integers(1, USERS), st.integers(0, 60).map(lambda day: day * DAY)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=15)
@given(moments_asked, st.integers(0, 5), st.integers(0, 1000))
def test_no_feature_sees_what_comes_later(
    moments: list[tuple[int, float]], seed: int, change: int
) -> None:
    frame = events(seed)
    columns = PointInTime().fit(dataset(frame))._context_columns
    for user, moment in moments:
        earlier = frame.filter(pl.col("timestamp") < moment)
        later = frame.filter(pl.col("timestamp") >= moment)
        others = events(change).with_columns(pl.col("timestamp") + moment)
        shuffled = later.with_columns(
            pl.col("rating").shuffle(change), pl.col("item").shuffle(change + 1)
        )
        found = []
        for world in (frame, earlier, pl.concat([earlier, shuffled]), pl.concat([earlier, others])):
            data = dataset(world)
            features = PointInTime(liking=4.0, repeats=bool(seed % 2)).fit(data, SOURCES)
            # The columns are those that were known when it was fitted.
            features._context_columns = columns
            features._look_at(data)
            found.append(features.of(asked(data, [user], [moment]), everything(1)))
        for changed in found[1:]:
            assert_same(found[0], changed)


def slow(
    frame: pl.DataFrame, data: tm.Dataset, user: int, item: int, moment: float, prior: float
) -> dict[str, float]:
    """The numeric features of one pair, by their definitions (rows of users and items)."""
    rows = [
        (u + 1, i + 1, t, v)
        for u, i, t, v in frame.select("user", "item", "timestamp", "rating").iter_rows()
        if t < moment
    ]
    now = moment
    if math.isinf(moment):
        now = max(t for *_, t, _ in rows)
    assert data.item_table is not None and data.user_table is not None
    about = data.item_table.rows(named=True)

    def age(times: list[float], last: bool = True) -> float:
        return math.log1p(now - (max(times) if last else min(times))) if times else math.nan

    def drawn(values: list[Any], to: float) -> float:
        return (sum(values) + prior * to) / (len(values) + prior)

    own = [row for row in rows if row[0] == user]
    of_item = [row for row in rows if row[1] == item]
    like_rate = (sum(v >= 4 for *_, v in rows) + 1) / (len(rows) + 2)
    mean = sum(v for *_, v in rows) / len(rows) if rows else math.nan
    own_rate = drawn([v >= 4 for *_, v in own], like_rate)
    expected = {
        "user.events": math.log1p(len(own)),
        "user.likes": own_rate,
        "user.value": drawn([v for *_, v in own], mean),
        "user.idle": age([t for *_, t, _ in own]),
        "user.age": data.user_table["age"][user - 1],
        "item.events": math.log1p(len(of_item)),
        "item.share": math.log((len(of_item) + 1) / (len(rows) + 1)),
        "item.likes": drawn([v >= 4 for *_, v in of_item], like_rate),
        "item.value": drawn([v for *_, v in of_item], mean),
        "item.age": age([t for *_, t, _ in of_item], last=False),
        "item.year": math.nan if item == 1 else about[item - 1]["year"],
    }
    for name, days in (("short", 7), ("long", 30)):
        latest = max((t for *_, t, _ in rows), default=0.0)
        recent = [row for row in rows if row[2] >= latest - days * DAY]
        n = sum(row[1] == item for row in recent)
        expected[f"item.{name}_events"] = math.log1p(n)
        expected[f"item.{name}_share"] = math.log((n + 1) / (len(recent) + 1))
    for column in ("genres", "studio"):

        def values_of(row: int, column: str = column) -> set[str]:
            said = about[row - 1][column]
            return set(said or []) if isinstance(said, (list, type(None))) else {said}

        shares, rates, times = [], [], []
        for value in values_of(item):
            taken = [row for row in own if value in values_of(row[1])]
            shares.append(len(taken) / len(own) if own else 0.0)
            rates.append(drawn([v >= 4 for *_, v in taken], own_rate))
            times += [t for *_, t, _ in taken]
        expected[f"pair.{column}.share"] = sum(shares) / len(shares) if shares else math.nan
        expected[f"pair.{column}.likes"] = sum(rates) / len(rates) if rates else math.nan
        expected[f"pair.{column}.idle"] = age(times)

    def sets(row: int) -> set[tuple[str, str]]:
        genres = {("genres", value) for value in about[row - 1]["genres"] or []}
        return genres | {("studio", about[row - 1]["studio"])}

    # Ties in time keep the order of the log, as in the data set.
    last = sorted(own, key=lambda row: row[2])[-10:]
    cosines = [
        len(sets(item) & sets(row[1])) / math.sqrt(len(sets(item)) * len(sets(row[1])))
        for row in last
    ]
    expected["pair.similarity"] = sum(cosines) / len(cosines) if cosines else 0.0
    return expected


@pytest.mark.parametrize("seed", [0, 1])
def test_as_a_plain_reference_says(seed: int) -> None:
    frame = events(seed)
    data = dataset(frame)
    features = PointInTime(liking=4.0, prior=5.0).fit(data, SOURCES)
    users, as_of = [1, 3, 3, 6, 2, 4], [30 * DAY, 12 * DAY, 40 * DAY, 1 * DAY, math.inf, 0.0]
    candidates = everything(len(users))
    found = features.of(asked(data, users, as_of), candidates)
    names = [feature.name for feature in features.schema.numeric]
    row = 0
    for user, moment in zip(users, as_of, strict=True):
        for item in range(1, ITEMS + 1):
            expected = slow(frame, data, user, item, moment, 5.0)
            expected |= {
                "source.first.score": candidates.scores[row, 0],
                "source.second.score": candidates.scores[row, 1],
                "source.first.rank": np.log(candidates.ranks[row, 0]),
                "source.second.rank": np.log(candidates.ranks[row, 1]),
            }
            assert set(names) == set(expected)
            np.testing.assert_allclose(
                found.numeric[row],
                [expected[name] for name in names],
                rtol=2e-5,
                err_msg=str(names),
            )
            row += 1


def test_rows_of_vocabularies_and_the_clock() -> None:
    data = dataset(events(0))
    features = PointInTime(length=3).fit(data, SOURCES)
    # 1970-01-01 was a Thursday; 20 days and 5 hours later it is Wednesday.
    queries = asked(data, [2, 0, 5], [20 * DAY + 5 * 3600] * 3)
    found = features.of(queries, everything(3))
    column = {feature.name: place for place, feature in enumerate(features.schema.categorical)}
    rows = found.categorical[::ITEMS]
    tv = int(features._context_columns.columns["device"].vocabulary.rows(["tv"])[0])
    assert tv > 0
    assert rows[:, column["user"]].tolist() == [2, 0, 5]
    assert rows[:, column["request.hour"]].tolist() == [6, 6, 6]
    assert rows[:, column["request.weekday"]].tolist() == [3, 3, 3]
    assert rows[:, column["request.device"]].tolist() == [tv, 0, 0]
    assert rows[1, column["user.gender"]] == 0
    assert found.categorical[:ITEMS, column["item"]].tolist() == list(range(1, ITEMS + 1))
    own = data.histories.slice(2, 3)
    known = own.items[own.times < 20 * DAY + 5 * 3600]
    liked = own.items[(own.times < 20 * DAY + 5 * 3600) & (own.values >= 3)]
    for sequence, expected in zip(found.sequences, (known[-3:], liked[-3:]), strict=True):
        assert sequence.rows[: len(expected)].tolist() == expected.tolist()
        assert sequence.counts[ITEMS : 2 * ITEMS].tolist() == [0] * ITEMS
    found.check_rows()


def test_events_as_rows_are_the_queries_before_them() -> None:
    data = dataset(events(2))
    features = PointInTime().fit(data)
    places = np.arange(data.n_events)[::-1][::2]
    moments = Moments.before_events(data, places)
    alone = Candidates.without_sources(np.arange(len(places) + 1), data.histories.items[places])
    found = features.of(moments, alone)
    assert_same(found, features.of(moments.queries(), alone))
    in_order = np.argsort(places)
    ordered = features.of(moments.take(in_order), alone.take(in_order))
    assert_same(found.take(in_order), ordered)


def test_later_events_count_as_if_they_had_been_there() -> None:
    frame = events(3)
    whole, first = dataset(frame), dataset(frame[:70])
    features = PointInTime(liking=4.0).fit(first, SOURCES)
    features._context_columns = PointInTime().fit(whole)._context_columns
    features._look_at(first)
    for part in (frame[70:100], frame[100:]):
        features.add(
            part["item"].to_numpy().astype(np.int32) + 1,
            part["timestamp"].to_numpy(),
            part["rating"].to_numpy().astype(np.float32),
        )
    queries = asked(whole, [1, 2, 3], [np.inf, 50 * DAY, 10 * DAY])
    together = PointInTime(liking=4.0).fit(whole, SOURCES).of(queries, everything(3))
    assert_same(features.of(queries, everything(3)), together)


def test_stored_and_restored() -> None:
    data = dataset(events(4))
    features = PointInTime(prior=3.0).fit(data, SOURCES)
    about, columns = features.state()
    same = PointInTime.restored(data, features.hyperparameter_values(), about, columns)
    queries = asked(data, [1, 2], [np.inf, 20 * DAY])
    assert_same(features.of(queries, everything(2)), same.of(queries, everything(2)))


def test_without_times_and_tables() -> None:
    data = replace(
        dataset(events(5)), has_times=False, item_table=None, user_table=None, context=None
    )
    features = PointInTime().fit(data, SOURCES)
    found = features.of(asked(data, [1], [0.0]), everything(1))
    names = [feature.name for feature in features.schema.numeric]
    assert not any("idle" in name or "age" in name or "short" in name for name in names)
    events_known = found.numeric[:, names.index("user.events")]
    np.testing.assert_allclose(events_known, np.log1p(data.histories.counts[1]))
    with pytest.raises(DataError, match="needs the times of events"):
        Moments.before_events(data, np.arange(3))


def test_misfits_are_refused() -> None:
    data = dataset(events(0))
    with pytest.raises(NotFittedError):
        PointInTime().of(asked(data, [1], [np.inf]), everything(1))
    with pytest.raises(ParameterError, match="short_window"):
        PointInTime(short_window=60.0).fit(data)
    with pytest.raises(ParameterError, match="second"):
        PointInTime().fit(data).of(asked(data, [1], [np.inf]), everything(1))


def test_an_item_stands_once_for_all_who_ask_at_a_moment() -> None:
    data = dataset(events(0))
    features, days = PointInTime().fit(data, SOURCES), [30 * DAY, 30 * DAY, 40 * DAY]
    queries, proposed = asked(data, [1, 2, 3], days), everything(3)
    found = features.apart(queries, proposed)
    assert len(found.items) == 2 * ITEMS
    np.testing.assert_array_equal(found.places[:ITEMS], found.places[ITEMS : 2 * ITEMS])
    np.testing.assert_array_equal(found.items.block.categorical[found.places, 0], proposed.items)
    each = [features.of(queries.slice(i, i + 1), proposed.slice(i, i + 1)) for i in range(3)]
    for place, alone in enumerate(each):
        rows = np.arange(place * ITEMS, (place + 1) * ITEMS)
        assert_same(found.joined().take(rows), alone)


@pytest.mark.parametrize("days", [[30 * DAY, 40 * DAY], [np.inf, 40 * DAY], [np.inf, np.inf]])
def test_popularity_is_the_share_that_items_have_at_that_moment(days: list[float]) -> None:
    data = dataset(events(0))
    features = PointInTime().fit(data, SOURCES)
    queries, proposed = asked(data, [1, 2], days), everything(2)
    found = features.apart(queries, proposed)
    shares = found.items.block.numbers("item.share")[found.places]
    np.testing.assert_array_equal(features.popularity(queries, proposed), shares)


def test_without_a_user_table_there_may_be_more_users_than_moments() -> None:
    frame = pl.DataFrame(
        {"user": [f"u{n}" for n in range(50)] * 2, "item": ["a", "b"] * 50, "time": range(100)}
    )
    data = tm.Dataset.from_frame(frame)
    features = PointInTime().fit(data, ())
    moments = Moments.before_events(data, np.array([97, 99]))
    none = np.zeros(3, np.int64)
    rows = features.of(moments, Candidates.without_sources(none, np.zeros(0, np.int32)))
    assert len(rows) == 0
    one = Candidates.without_sources(np.array([0, 1, 2]), np.array([1, 2], np.int32))
    assert len(features.of(moments, one)) == 2


def test_of_what_is_taken_again_the_item_itself_is_counted() -> None:
    frame, moment = events(3), 40 * DAY
    data = dataset(frame)
    queries, candidates = asked(data, [2, 5], [moment] * 2), everything(2)
    plain, found = (
        PointInTime(liking=4.0, repeats=repeats).fit(data, SOURCES).of(queries, candidates)
        for repeats in (False, True)
    )
    added = {"pair.itself.share", "pair.itself.likes", "pair.itself.idle"}
    names = [feature.name for feature in found.schema.numeric]
    assert set(names) - {feature.name for feature in plain.schema.numeric} == added
    own = frame.filter(pl.col("timestamp") < moment)
    for row, (user, item) in enumerate((user, item) for user in (1, 4) for item in range(ITEMS)):
        mine = own.filter(pl.col("user") == user)
        again = mine.filter(pl.col("item") == item)
        values = dict(zip(names, found.numeric[row], strict=True))
        assert values["pair.itself.share"] == pytest.approx(len(again) / len(mine))
        if len(again):
            idle = math.log1p(moment - again["timestamp"].max())
            assert values["pair.itself.idle"] == pytest.approx(idle)
        else:
            assert math.isnan(values["pair.itself.idle"])
    # What is said of the other columns stays what it was.
    for place, feature in enumerate(plain.schema.numeric):
        if feature.name != "pair.similarity":
            np.testing.assert_array_equal(
                found.numeric[:, names.index(feature.name)], plain.numeric[:, place]
            )


def test_an_hour_that_events_tell_stands_for_that_of_the_clock() -> None:
    data = dataset(events(3))
    assert data.context is not None
    local = pl.DataFrame({"hour": ["noon", "night"] * (data.n_events // 2)})
    features = PointInTime().fit(replace(data, context=local)).schema.categorical
    sizes = {feature.name: feature.size for feature in features}
    assert sizes["request.hour"] == 3
    assert sizes["request.weekday"] == 8
