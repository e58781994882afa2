"""That the comparison is fair, and what is said of drift and quality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from worlds import later_events

import tastemap as tm
from tastemap.data.splits import Split
from tastemap.errors import DataError
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.online.live import LiveState
from tastemap.online.retraining.as_served import AsServed
from tastemap.online.retraining.contest import Gap, contest, newest
from tastemap.online.retraining.drift import shifts
from tastemap.online.retraining.gathering import Gathered, gather
from tastemap.online.retraining.quality import HitRate, next_hit_rate
from tastemap.online.stability import stability

METRICS = ["ndcg@10", "hit_rate@10"]


def newest_of(data: tm.Dataset, log: EventLog, share: float) -> tuple[Gathered, Split]:
    """A data set with all that the log holds, and the newest share of that held out."""
    gathered = gather(data, log, 0, now=1e9)
    return gathered, newest(gathered, share)


@pytest.fixture
def release(shop: tm.Dataset) -> tm.Pipeline:
    return tm.Pipeline([tm.ItemKNN()]).fit(shop)


def test_the_serving_release_is_asked_as_the_live_service_asks_it(
    shop: tm.Dataset, release: tm.Pipeline, log: EventLog
) -> None:
    later = [*later_events(10), Event("u3", "new thing", "buy", 3500.0, 1.0)]
    log.append([later])
    gathered, split = newest_of(shop, log, 0.3)
    moment = split.test.queries.as_of[0]
    live = LiveState(shop, log.key)
    live.add([event for event in later if event.time < moment])
    users = [str(id_) for id_ in gathered.data.users.ids(split.test.queries.users)]
    rows, histories = live.histories(users)
    expected = release.answer(tm.Queries.of(histories, users=rows), 10)
    found = AsServed(release, gathered).answer(split.test.queries, 10)
    assert found.padded(10).tolist() == expected.padded(10).tolist()
    assert "u130" in users  # came after the release


def test_what_both_are_judged_by_neither_has_learned_from(shop: tm.Dataset, log: EventLog) -> None:
    log.append([later_events(0)])
    # Late to arrive: known to nobody, and before the moment, so not of what is foretold.
    log.append([[Event("u5", "i59", "view", 10.0, 1.0)]])
    gathered, split = newest_of(shop, log, 0.3)
    moment = split.test.queries.as_of[0]
    assert (split.test.truth.times >= moment).all()
    h = split.train.histories
    assert (h.times < moment).all()
    held = gathered.later & (gathered.data.histories.times >= moment)
    assert held.sum() == pytest.approx(0.3 * gathered.n_later, abs=2)
    assert h.n_events == gathered.data.n_events - held.sum()
    row = int(gathered.data.users.rows(["u5"])[0])
    assert gathered.data.items.rows(["i59"])[0] in h.items_of(row)
    # Nothing is asked for that was in the history.
    for query in range(len(split.test)):
        known = split.test.queries.histories.items_of(query)
        assert not np.isin(split.test.truth.items_of(query), known).any()


def test_release_events_later_than_the_moment_are_never_foretold(
    past: pl.DataFrame, log: EventLog
) -> None:
    """The serving release has learned from them."""
    ahead = past.with_columns(pl.col("timestamp") + 2500.0)
    data = tm.Dataset.from_frame(ahead, time="timestamp", kind="event")
    log.append([later_events(0)])
    gathered, split = newest_of(data, log, 0.3)
    moment = split.test.queries.as_of[0]
    assert gathered.data.n_events - split.train.n_events == pytest.approx(360, abs=2)
    assert (split.train.histories.times >= moment).any()
    old = set(zip(*ahead.select("user", "item").to_dict(as_series=False).values(), strict=True))
    rows = split.test.queries.users[split.test.truth.rows_of_events()]
    users = gathered.data.users.ids(rows)
    items = gathered.data.items.ids(split.test.truth.items)
    assert not old & set(zip(users, items, strict=True))


def test_new_tastes_are_won_by_the_candidate_and_new_items_stand_apart(
    shop: tm.Dataset, release: tm.Pipeline, log: EventLog
) -> None:
    rng = np.random.default_rng(3)
    hit = [Event(f"u{n}", "hit", "view", float(rng.uniform(3000, 4000)), 1.0) for n in range(100)]
    log.append([later_events(10), hit])
    gathered, split = newest_of(shop, log, 0.3)
    candidate = release.unfitted().fit(split.train)
    found = contest(AsServed(release, gathered), candidate, split, METRICS)
    assert found.gap.low > 0.1
    assert not found.gap.loses(0.0)
    assert found.known is not None
    assert found.known.difference < found.gap.difference  # new items are part of the gain
    assert found.known.low > 0
    swapped = contest(AsServed(release, gathered), AsServed(release, gathered), split, METRICS)
    assert (swapped.gap.difference, swapped.gap.low, swapped.gap.high) == (0, 0, 0)


def test_a_worse_candidate_loses(shop: tm.Dataset, release: tm.Pipeline, log: EventLog) -> None:
    log.append([later_events(0)])
    gathered, split = newest_of(shop, log, 0.3)
    worse = tm.Pipeline([tm.Popularity()]).fit(split.train)
    found = contest(AsServed(release, gathered), worse, split, METRICS)
    assert found.gap.high < 0
    assert found.gap.loses(0.5)


@pytest.mark.parametrize(
    ("difference", "low", "high", "loses"),
    [
        (0.01, -0.02, 0.04, False),
        (-0.001, -0.02, 0.02, False),  # may be chance, and is small
        (-0.01, -0.03, 0.02, True),  # may be chance, and is not small
        (-0.001, -0.0015, -0.0005, True),  # small, and no chance
    ],
)
def test_when_a_candidate_loses(difference: float, low: float, high: float, loses: bool) -> None:
    assert Gap(0.5, 0.5 + difference, difference, low, high).loses(0.01) is loses


@pytest.fixture(scope="module")
def by_device() -> tuple[tm.Dataset, list[Event]]:
    """30 people of one taste, who take some items on the phone and others on the television: what
    the release knows of them, and what they did later."""
    rng = np.random.default_rng(5)
    devices = {"phone": np.arange(20), "tv": np.arange(20, 40)}
    before, later = [], []
    for user in range(30):
        for device, items in devices.items():
            taken = rng.choice(items, 13, replace=False).tolist()
            before += [(f"u{user}", f"i{i}", rng.uniform(1000, 2000), device) for i in taken[:10]]
            later += [
                Event(f"u{user}", f"i{i}", "", 3000 + rng.random(), 1.0, context={"device": device})
                for i in taken[10:]
            ]
    frame = pl.DataFrame(before, schema=["user", "item", "time", "device"], orient="row")
    data = tm.Dataset.from_frame(frame, time="time", context=["device"])
    return data, sorted(later, key=lambda event: event.time)


def test_both_are_asked_in_the_circumstances_that_the_events_tell(
    by_device: tuple[tm.Dataset, list[Event]], log: EventLog
) -> None:
    data, later = by_device
    later = [*later, Event("u0", "new thing", "", 3002.0, 1.0)]  # nobody said where
    log.append([later])
    gathered, split = newest_of(data, log, 0.6)
    queries, truth = split.test.queries, split.test.truth
    moment = queries.as_of[0]
    # One question for each person and device, in the order of what they did.
    told: dict[tuple[str, object], list[str]] = {}
    for event in later:
        if event.time >= moment:
            device = None if event.context is None else event.context["device"]
            told.setdefault((event.user, device), []).append(event.item)
    assert queries.context is not None
    users, items = gathered.data.users.ids(queries.users), gathered.data.items
    found = {
        (str(user), device): [str(item) for item in items.ids(truth.items_of(row))]
        for row, (user, device) in enumerate(zip(users, queries.context["device"], strict=True))
    }
    assert list(found) == sorted(told, key=lambda key: int(data.users.rows([key[0]])[0]))
    assert found == told
    assert found["u0", None] == ["new thing"]
    for row, history in enumerate(map(queries.histories.items_of, range(len(queries)))):
        known = split.train.histories.items_of(int(queries.users[row]))
        assert history.tolist() == known.tolist()


def test_what_a_model_of_circumstances_gains_is_judged_on_either_side(
    by_device: tuple[tm.Dataset, list[Event]], log: EventLog
) -> None:
    data, later = by_device
    log.append([later])
    gathered, split = newest_of(data, log, 0.6)
    blind = tm.Pipeline([tm.Popularity()])
    seeing = tm.Pipeline([tm.ContextPostFilter(model="popularity", prior=1)])

    def found(served: tm.Pipeline, candidate: tm.Pipeline, split: Split = split) -> Gap:
        served = served.unfitted().fit(data)
        candidate = candidate.unfitted().fit(split.train)
        judged = contest(AsServed(served, gathered), candidate, split, ["hit_rate@5"])
        assert judged.n_users == len(np.unique(split.test.queries.users)) < len(split.test)
        return judged.gap

    assert found(blind, seeing).low > 0
    assert found(seeing, blind).high < 0
    untold = replace(split.test, queries=replace(split.test.queries, context=None))
    assert found(blind, seeing, replace(split, test=untold)).loses(0.0)


def test_each_person_counts_once_however_often_they_are_asked(
    by_device: tuple[tm.Dataset, list[Event]], log: EventLog
) -> None:
    data, later = by_device
    log.append([later])
    gathered, split = newest_of(data, log, 0.4)
    release = tm.Pipeline([tm.ItemKNN()]).fit(data)
    lists = release.answer(split.test.queries, 5).padded(5)
    hits: dict[int, list[bool]] = {}
    for row, user in enumerate(split.test.queries.users.tolist()):
        right = np.isin(split.test.truth.items_of(row), lists[row]).any()
        hits.setdefault(user, []).append(bool(right))
    assert {len(each) for each in hits.values()} == {1, 2}
    gap = contest(AsServed(release, gathered), release, split, ["hit_rate@5"]).gap
    assert gap.served == pytest.approx(np.mean([np.mean(each) for each in hits.values()]))
    assert next_hit_rate(AsServed(release, gathered), split).n_users == len(hits)


def test_nothing_new_cannot_be_judged_by(shop: tm.Dataset, log: EventLog) -> None:
    with pytest.raises(DataError, match="nothing was recorded"):
        newest(gather(shop, log, 0), 0.3)
    h = shop.histories
    rows, items = shop.users.ids(h.rows_of_events()), shop.items.ids(h.items)
    again = [Event(u, i, "view", 4000.0, 1.0) for u, i in zip(rows, items, strict=True)]
    log.append([again])
    with pytest.raises(DataError, match="first of an item"):
        newest(gather(shop, log, 0), 0.3)


def test_the_stability_index_is_as_published_and_knows_its_noise() -> None:
    before, now = np.array([5000, 3000, 2000]), np.array([400, 300, 300])
    p, q = before / 10_000, now / 1000
    shift = stability("x", before, now)
    assert shift.index == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=1e-3)
    rng = np.random.default_rng(0)
    share = np.full(10, 0.1)
    same = [
        stability("x", rng.multinomial(2000, share), rng.multinomial(500, share))
        for _ in range(400)
    ]
    assert sum(shift.index > shift.noise for shift in same) <= 3
    assert np.mean([shift.index for shift in same]) > same[0].noise / 6
    few = stability("x", np.array([10, 0]), np.array([5, 5]))
    assert few.index > 0.25
    assert not few.beyond(0.25)
    assert stability("x", np.array([0, 900]), np.array([500, 400])).beyond(0.25)


def test_drift_of_popularity_and_kinds_is_seen_and_none_where_there_is_none(
    shop: tm.Dataset, release: tm.Pipeline, log: EventLog
) -> None:
    def found(events: list[Event]) -> dict[str, bool]:
        log.append([events])
        offset = log.last_offset - len(events)
        gathered = gather(shop, log, offset, now=1e9)
        served = AsServed(release, gathered)
        return {shift.of: shift.beyond(0.25) for shift in shifts(served, gathered)}

    assert found(later_events(0)) == {"popularity": False, "kinds": False, "scores": False}
    new = [
        replace(event, item=f"n{event.item}", kind="buy")
        if place % 2
        else replace(event, item="i3")
        for place, event in enumerate(later_events(0))
    ]
    drifted = found(new)
    assert drifted["popularity"]
    assert drifted["kinds"]


def test_the_next_hit_rate_does_not_depend_on_how_long_one_looks(
    shop: tm.Dataset, release: tm.Pipeline, log: EventLog
) -> None:
    log.append([later_events(0)])
    gathered, split = newest_of(shop, log, 1.0)
    rate = next_hit_rate(AsServed(release, gathered), split)
    first = split.test.truth.offsets[:-1]
    short = replace(split.test, truth=split.test.truth.parts(first, first + 1))
    assert next_hit_rate(AsServed(release, gathered), replace(split, test=short)) == rate
    assert rate.low < rate.value < rate.high
    assert 0.2 < rate.value < 1


def test_when_quality_fell() -> None:
    assert HitRate(0.3, 0.25, 0.35, 200).fell(0.5, 0.2)
    assert not HitRate(0.3, 0.20, 0.42, 200).fell(0.5, 0.2)
