"""The event log: durable, append-only, each id once."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemap.online.events import Event, EventLog, IdConflictError, Recorded, StateError


def event(user: str = "u", item: str = "i", id_: str | None = None, digest: bytes = b"x") -> Event:
    return Event(user, item, "view", 1.5, 2.0, id_, None if id_ is None else digest)


def recorded(log: EventLog) -> list[Event]:
    return [event for _, events in log.since(0, size=2) for event in events]


def test_events_come_back_as_they_went_in_order(tmp_path: Path) -> None:
    events = [event("ä\0/%", "💥"), event("b", id_="1"), event("c", id_="2")]
    log = EventLog(tmp_path / "new" / "folder")
    assert log.append([events[:1], events[1:]]) == [
        Recorded(events[:1], 0),
        Recorded(events[1:], 0),
    ]
    log.close()
    again = EventLog(tmp_path / "new" / "folder")
    assert again.last_offset == 3
    assert recorded(again) == events
    assert [(last, len(part)) for last, part in again.since(1)] == [(3, 2)]
    again.close()


def test_commits_reach_the_disk_before_append_returns(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    assert log._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    log.close()


# Batches of (id, content) pairs; few of each, so that repeats and conflicts are common.
batches = st.lists(
    st.lists(st.tuples(st.sampled_from([None, "1", "2", "3"]), st.sampled_from(["a", "b"]))),
    max_size=6,
)


@settings(max_examples=40)
@given(st.lists(batches, max_size=3))
def test_each_id_once_and_conflicting_batches_not_at_all(calls: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder))
        known: dict[str, str] = {}
        expected: list[Event] = []
        for call in calls:
            made = [
                [event(user=text, id_=id_, digest=text.encode()) for id_, text in batch]
                for batch in call  # type: ignore[attr-defined]
            ]
            for batch, result in zip(made, log.append(made), strict=True):
                trial = dict(known)
                new: list[Event] = []
                conflict = None
                for index, one in enumerate(batch):
                    if one.id is None or one.id not in trial:
                        new.append(one)
                    elif trial[one.id] != one.user:
                        conflict = index
                        break
                    if one.id is not None:
                        trial[one.id] = one.user
                if conflict is not None:
                    assert isinstance(result, IdConflictError)
                    assert result.index == conflict
                else:
                    assert result == Recorded(new, len(batch) - len(new))
                    known, expected = trial, expected + new
        assert recorded(log) == expected
        log.close()


def test_one_server_at_a_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    with pytest.raises(StateError, match="another server is using"):
        EventLog(tmp_path)
    log.close()
    EventLog(tmp_path).close()


def test_a_damaged_log_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "events.sqlite").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(StateError, match=r"events\.sqlite cannot be used"):
            EventLog(tmp_path)
    assert (tmp_path / "events.sqlite").read_bytes().startswith(b"not a database")


def test_a_newer_log_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(StateError, match="newer tastemap"):
        EventLog(tmp_path)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateError, match="--state"):
        EventLog(tmp_path / "state")


def test_a_full_disk_records_nothing_and_says_so(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append([[event("first")]])
    pages = log._db.execute("PRAGMA page_count").fetchone()[0]
    log._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StateError, match="full"):
        log.append([[event("u" * 200) for _ in range(1000)]])
    log._db.execute("PRAGMA max_page_count=1000000")
    log.append([[event("last")]])
    assert [one.user for one in recorded(log)] == ["first", "last"]
    assert log.last_offset == 2
    log.close()
