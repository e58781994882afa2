"""The release's data and the log as one data set."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tastemap as tm
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.online.retraining.gathering import gather
from tastemap.online.retraining.shown import shown_to
from tastemap.online.tokens import Tokens


def event(
    user: str, item: str, kind: str = "view", time: float = 3000.0, value: float = 1.0, **more: Any
) -> Event:
    return Event(user, item, kind, time, value, **more)


def frame_of(data: tm.Dataset, user: str) -> list[tuple[object, ...]]:
    found = data.to_frame().filter(pl.col("user").cast(pl.String) == user)
    return found.select("item", "time", "kind").rows()


def test_new_users_items_and_kinds_stand_behind_those_of_the_release(
    shop: tm.Dataset, log: EventLog
) -> None:
    log.append([[event("u1", "new thing", "buy"), event("new one", "i3"), event("u2", "i4")]])
    found = gather(shop, log, 0, now=5000.0)
    n = len(shop.users)
    assert found.data.users.ids(np.arange(n)) == shop.users.ids(np.arange(n))
    assert found.data.users.rows(["new one"]).tolist() == [n]
    assert found.data.items.rows(["new thing"]).tolist() == [len(shop.items)]
    assert found.data.kind_names == ("view", "buy")
    assert frame_of(found.data, "u1")[-1] == ("new thing", 3000.0, "buy")
    assert (found.n_later, found.position.offset, found.left_out) == (3, 3, {})
    old = found.data.with_events(~found.later)
    assert old.n_events == shop.n_events
    assert old.histories.times.tolist() == shop.histories.times.tolist()


def test_circumstances_stay_with_their_events(log: EventLog) -> None:
    frame = pl.DataFrame(
        {
            "user": ["a", "b", "a"],
            "item": ["x", "y", "z"],
            "time": [1, 2, 9],
            "country": ["RU", "DE", "FI"],
        }
    )
    data = tm.Dataset.from_frame(frame, context=["country"])
    log.append([[event("a", "y", time=5.0)]])
    found = gather(data, log, 0).data
    told = found.to_frame().select("user", "item", "country").rows()
    assert told == [("a", "x", "RU"), ("a", "y", None), ("a", "z", "FI"), ("b", "y", "DE")]


def test_circumstances_of_the_log_are_learned_from_as_far_as_the_release_has_such_columns(
    log: EventLog,
) -> None:
    frame = pl.DataFrame(
        {
            "user": ["a", "b"],
            "item": ["x", "y"],
            "time": [1, 2],
            "device": ["phone", "tv"],
            "hour": [7.5, None],
            "day": [date(2026, 1, 1), None],
        }
    )
    data = tm.Dataset.from_frame(frame, context=["device", "hour", "day"])
    told = [
        {"device": "phone", "hour": 8},
        {"device": 7, "day": "2026-02-03", "weather": "snow"},
        {"hour": 8.25, "day": "yesterday", "device": ["phone"]},
        None,
        {"weather": "rain"},
    ]
    log.append([[event("b", f"i{n}", time=5.0 + n, context=each) for n, each in enumerate(told)]])
    log.append([[event("b", "i9", kind="skip", context={"device": "tv"})]])
    found = gather(data, log, 0)
    assert found.data.to_frame().select("item", "device", "hour", "day").rows() == [
        ("x", "phone", 7.5, date(2026, 1, 1)),
        ("y", "tv", None, None),
        ("i0", "phone", 8.0, None),
        ("i1", None, None, date(2026, 2, 3)),
        ("i2", None, 8.25, None),
        ("i3", None, None, None),
        ("i4", None, None, None),
    ]
    assert found.left_out == {
        "kind skip": 1,
        "circumstance that the release's events do not have": 2,
        "circumstance of another type than in the release's events": 3,
    }


def test_only_what_the_release_has_not_seen_is_read(shop: tm.Dataset, log: EventLog) -> None:
    log.append([[event("u1", "i1"), event("u1", "i2"), event("u1", "i3", time=1.0)]])
    found = gather(shop, log, 1, now=5000.0)
    assert found.n_later == 2
    assert frame_of(found.data, "u1")[0][0] == "i3"  # in order of time
    assert gather(shop, log, 3).n_later == 0


def test_what_is_no_history_or_no_number_is_left_out_and_counted(
    shop: tm.Dataset, log: EventLog
) -> None:
    log.append([[event("u1", "i1", kind) for kind in ("impression", "skip", "skip", "view")]])
    bad = [event("u1", "i2", value=math.inf), event("u1", "i2", time=-math.inf)]
    low = [event("u1", "i3", value=0.5)]
    log.append([bad, low])
    found = gather(shop, log, 0, min_value=1.0)
    assert found.n_later == 1
    assert found.left_out == {
        "kind impression": 1,
        "kind skip": 2,
        "time or value is not a finite number": 2,
        "value below 1": 1,
    }


def test_an_event_of_the_future_is_one_of_now(shop: tm.Dataset, log: EventLog) -> None:
    log.append([[event("u1", "i1", time=9e12), event("u1", "i2", time=4000.0)]])
    found = gather(shop, log, 0, now=5000.0)
    assert [row[:2] for row in frame_of(found.data, "u1")[-2:]] == [("i2", 4000.0), ("i1", 5000.0)]


def test_ids_that_are_no_integers_cannot_become_ids_of_integers(log: EventLog) -> None:
    data = tm.Dataset.from_frame(pl.DataFrame({"user": [1, 2, 2], "item": [10, 10, 20]}))
    good = [event("3", "30"), event("-4", "10"), event(str(2**63 - 1), "10"), event("1", "30")]
    bad = [event(user, "10") for user in ("x", "03", "1.5", "", "²", str(2**63), "9" * 40)]
    log.append([good, bad, [event("1", "thing")]])
    found = gather(data, log, 0)
    assert found.data.users.ids(range(1, len(found.data.users)))[2:] == [3, -4, 2**63 - 1]
    assert found.data.items.ids([3]) == [30]
    assert sum(found.left_out.values()) == len(bad) + 1


def test_more_kinds_than_fit_are_events_like_any_other(shop: tm.Dataset, log: EventLog) -> None:
    log.append([[event("u1", "i1", f"kind {n}") for n in range(300)]])
    found = gather(shop, log, 0)
    assert len(found.data.kind_names) == 256
    assert found.n_later == 300


def test_who_was_forgotten_is_not_learned_from_and_begins_anew(
    shop: tm.Dataset, log: EventLog
) -> None:
    log.append([[event("u1", "i1"), event("guest", "i2"), event("u2", "i5")]])
    log.forget("u1")
    log.forget("guest")
    log.append([[event("u1", "i9")]])
    found = gather(shop, log, 0)
    assert frame_of(found.data, "u1") == [("i9", 3000.0, "view")]
    assert "guest" not in found.data.users
    assert found.data.users.rows(["u1"])[0] > len(shop.users) - 1
    assert found.n_later == 2
    # The row of who was there before says nothing, and other rows mean what they meant.
    row = int(shop.users.rows(["u1"])[0])
    assert found.data.histories.items_of(row).size == 0
    assert "u1" not in str(found.data.users.ids([row]))
    assert found.data.users.rows(["u2"]).tolist() == shop.users.rows(["u2"]).tolist()
    # A release that had seen the return already still leaves it to the log.
    again = gather(shop, log, log.last_offset)
    assert frame_of(again.data, "u1") == [("i9", 3000.0, "view")]
    assert again.n_later == 0


def test_what_people_were_shown_is_found_with_its_places(
    shop: tm.Dataset, log: EventLog, tmp_path: Path
) -> None:
    tokens = Tokens.of_folder(tmp_path)
    assert shown_to(shop, log, tokens) is None
    token = tokens.give("1", ["i3", "i5"], ["als", "als"])
    log.append(
        [
            [
                Event("u1", "i5", "impression", 5000.0, 1.0, token=token),
                Event("u1", "i3", "skip", 5001.0, 1.0, token=token),
                Event("u1", "i4", "impression", 5002.0, 1.0, token=token),
                Event("u2", "i3", "impression", 5003.0, 1.0, token="not ours"),
                Event("u2", "i3", "view", 5004.0, 1.0, token=token),
                Event("nobody", "i3", "impression", 5005.0, 1.0),
                Event("u2", "no item", "impression", 5006.0, 1.0),
            ]
        ]
    )
    found = shown_to(shop, log, tokens)
    assert found is not None
    assert found.to_frame().select("user", "item", "time", "position").rows() == [
        ("u1", "i5", 5000.0, 2),
        ("u1", "i3", 5001.0, 1),
        ("u1", "i4", 5002.0, None),
        ("u2", "i3", 5003.0, None),
    ]
    elsewhere = shown_to(shop, log, Tokens(b"another key"))
    assert elsewhere is not None
    assert elsewhere.context is not None
    assert elsewhere.context["position"].null_count() == 4
