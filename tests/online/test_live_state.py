"""Histories with live events are those of a data set that held the events from the start."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import tastemap as tm
from tastemap.online.events import Event
from tastemap.online.live import LiveState

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
