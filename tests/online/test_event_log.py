"""The event log: durable, append-only, each id once."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemap.online.event_log import EventLog, EventReader
from tastemap.online.events import Event, IdConflictError, Position, Recorded
from tastemap.online.log_file import StateError


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


_FORMAT_1 = """
CREATE TABLE events (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT UNIQUE,
    user   TEXT NOT NULL,
    item   TEXT NOT NULL,
    kind   TEXT NOT NULL,
    time   REAL NOT NULL,
    value  REAL NOT NULL,
    digest BLOB
)
"""


def of_format_1(folder: Path, events: list[Event]) -> None:
    """A log as the first version of the format was written."""
    with closing(sqlite3.connect(folder / "events.sqlite")) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(_FORMAT_1)
        database.executemany(
            "INSERT INTO events (id, user, item, kind, time, value, digest) VALUES (?,?,?,?,?,?,?)",
            [(e.id, e.user, e.item, e.kind, e.time, e.value, e.digest) for e in events],
        )
        database.execute("PRAGMA user_version=1")


def test_a_log_of_format_1_is_upgraded_and_loses_nothing(tmp_path: Path) -> None:
    events = [event("ä\0/%", "💥"), event("b", id_="1"), event("c", id_="2"), event("b")]
    of_format_1(tmp_path, events)
    with pytest.raises(StateError, match="no event log"):
        EventReader(tmp_path)
    (tmp_path / "LOCK").touch()
    with pytest.raises(StateError, match="older tastemap"):
        EventReader(tmp_path)
    log = EventLog(tmp_path)
    assert recorded(log) == events
    assert log.last_offset == 4
    assert log.events_of("b") == [events[1], events[3]]
    again, other = event("b", id_="1"), event("x", id_="1", digest=b"other")
    repeated, refused = log.append([[again], [other]])
    assert repeated == Recorded([], 1)
    assert isinstance(refused, IdConflictError)
    log.append([[Event("b", "i", "view", 2.0, 1.0, duration=3.5, token="t")]])
    assert [last for last, _ in log.since(4)] == [5]
    log.close()
    assert recorded(EventReader(tmp_path))[:4] == events


def test_a_log_of_format_3_is_upgraded_and_takes_circumstances(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    old = event("b", id_="1")
    log.append([[old]])
    log.close()
    with closing(sqlite3.connect(tmp_path / "events.sqlite")) as database, database:
        database.execute("ALTER TABLE events DROP COLUMN context")
        database.execute("PRAGMA user_version=3")
    log = EventLog(tmp_path)
    new = Event("b", "i", "view", 2.0, 1.0, context={"device": "ä", "hour": 7.5, "paid": True})
    log.append([[new]])
    assert recorded(log) == log.events_of("b") == log.recent(2, 2) == [old, new]
    log.close()


def test_no_upgrade_while_an_old_server_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_format_1(tmp_path, [event()])
    monkeypatch.setattr("tastemap.online.log_file._WAIT_SECONDS", 0.1)
    with (tmp_path / "LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StateError, match="older tastemap is using"):
            EventLog(tmp_path)
    EventLog(tmp_path).close()


_WRITER = """
import sys
from pathlib import Path
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
log = EventLog(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    log.append([[Event(sys.argv[2], str(n), "view", 0.0, 1.0)]])
log.close()
"""


def test_several_writers_and_a_reader_that_misses_nothing(tmp_path: Path) -> None:
    """Offsets grow in the order of commits: who reads behind the last offset misses none."""
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name, "40"])
        for name in ("a", "b", "c")
    ]
    EventLog(tmp_path).close()
    reader = EventReader(tmp_path)
    version = -1
    position, seen = Position(), []
    while True:
        running = any(writer.poll() is None for writer in writers)
        if (found := reader.version()) != version:
            version = found
            for news in reader.news(position, size=7):
                seen += news.events
                position = news.position
        if not running:
            break
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert position.offset == reader.last_offset == 120
    for name in ("a", "b", "c"):
        assert [one.item for one in seen if one.user == name] == [str(n) for n in range(40)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._reader.execute("DELETE FROM events")
    reader.close()


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
