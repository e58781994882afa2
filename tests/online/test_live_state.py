"""Histories with live events are those of a data set that held the events from the start."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import tastemap as tm
from tastemap.online.events import Event
from tastemap.online.live import SKIP_SECONDS, LiveState

ITEMS = ["a", "b", "c"]
FRAME = pl.DataFrame(
    {
        "user": ["1", "1", "2", "2", "2"],
        "item": ["a", "b", "c", "a", "b"],
        "timestamp": [10.0, 20.0, 5.0, 15.0, 25.0],
        "rating": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
)
DATA = tm.Dataset.from_frame(FRAME, user="user", item="item", time="timestamp", value="rating")

events = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(["1", "2", "stranger", "2\0"]),
        item=st.sampled_from([*ITEMS, "unheard of"]),
        kind=st.sampled_from(["event", "purchase"]),
        time=st.sampled_from([0.0, 10.0, 12.0, 30.0]),
        value=st.sampled_from([1.0, 5.0]),
    ),
    max_size=12,
)


@given(st.lists(events, max_size=4))
def test_as_if_the_data_had_held_them(parts: list[list[Event]]) -> None:
    live = LiveState(DATA, str.encode)
    for part in parts:
        live.add(part)
    users = ["2", "stranger", "1", "never seen", "2\0", "2"]
    rows, histories = live.histories(users)
    assert rows.tolist() == [DATA.users.rows([user])[0] for user in users]
    for place, user in enumerate(users):
        base = FRAME.filter(pl.col("user") == user).select("timestamp", "item", "rating").rows()
        later = [
            (one.time, one.item, one.value)
            for part in parts
            for one in part
            if one.user == user and one.item in ITEMS
        ]
        expected = sorted([*base, *later], key=lambda row: row[0])
        events_of = slice(*histories.offsets[place : place + 2])
        assert histories.times[events_of].tolist() == [time for time, _, _ in expected]
        assert DATA.items.ids(histories.items[events_of]) == [item for _, item, _ in expected]
        assert histories.values[events_of].tolist() == [value for _, _, value in expected]
    assert histories.offsets.dtype == np.int64
    assert live.skipped == sum(one.item not in ITEMS for part in parts for one in part)


def test_a_row_that_was_read_never_changes() -> None:
    live = LiveState(DATA, str.encode)
    live.add([Event("1", "c", "event", 30.0, 1.0)])
    _, before = live.histories(["1"])
    kept = before.items.copy()
    live.add([Event("1", "a", "event", 0.0, 1.0)])
    assert (before.items == kept).all()
    assert live.histories(["1"])[1].n_events == len(kept) + 1


def test_what_was_shown_is_no_history_and_what_was_passed_over_is_hidden_for_a_while() -> None:
    live = LiveState(DATA, str.encode)
    live.add([Event("1", "c", "impression", 30.0, 1.0), Event("new", "a", "impression", 30.0, 1.0)])
    assert live.n_users == 0
    assert live.passed_over(["1", "new"], 31.0) is None
    live.add([Event("1", "c", "skip", 40.0, 1.0), Event("new", "gone", "skip", 40.0, 1.0)])
    live.add([Event("1", "a", "skip", 50.0, 1.0)])
    assert live.histories(["1"])[1].n_events == 2
    hidden = live.passed_over(["new", "1"], 60.0)
    assert hidden is not None
    assert hidden.counts.tolist() == [0, 2]
    assert DATA.items.ids(hidden.items) == ["c", "a"]
    later = live.passed_over(["1"], 40.0 + SKIP_SECONDS)
    assert later is not None
    assert DATA.items.ids(later.items) == ["a"]


def test_items_that_the_release_does_not_hold_are_kept_of_who_has_taken_no_others() -> None:
    live = LiveState(DATA, str.encode)
    assert live.only_new(["1", "new"]) == [(), ()]
    taken = [Event("new", f"n{n}", "event", 30.0, 3.0) for n in range(60)]
    live.add(
        [*taken, Event("1", "n1", "event", 30.0, 3.0), Event("other", "n1", "skip", 30.0, 3.0)]
    )
    live.add([Event("new", "disliked", "event", 30.0, 2.0)])
    assert live.only_new(["1", "new", "other"]) == [(), tuple(f"n{n}" for n in range(10, 60)), ()]
    live.forget([b"1", b"new"])
    assert live.only_new(["1", "new"]) == [(), ()]
    live.add([Event("1", "n1", "event", 40.0, 3.0), Event("new", "n2", "event", 40.0, 3.0)])
    assert live.only_new(["new", "1"]) == [("n2",), ("n1",)]
    live.add([Event("new", "a", "event", 50.0, 3.0)])
    assert live.only_new(["new", "1"]) == [(), ("n1",)]


def test_who_was_forgotten_begins_anew() -> None:
    live = LiveState(DATA, str.encode)
    live.add([Event("1", "c", "event", 30.0, 1.0), Event("new", "a", "event", 30.0, 1.0)])
    live.add([Event("1", "b", "skip", 30.0, 1.0), Event("2", "b", "event", 30.0, 1.0)])
    live.forget([b"1", b"new", b"never seen"])
    rows, histories = live.histories(["1", "new", "2"])
    assert rows.tolist() == [0, 0, 2]
    assert histories.counts.tolist() == [0, 0, 4]
    assert live.passed_over(["1"], 31.0) is None
    live.add([Event("1", "a", "event", 40.0, 2.0)])
    rows, histories = live.histories(["1"])
    assert rows.tolist() == [0]
    assert histories.times.tolist() == [40.0]
    live.forget([b"1"])
    assert live.histories(["1"])[1].n_events == 0
