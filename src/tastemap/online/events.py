"""The event log: what people did since the release was made, kept through any crash.

One SQLite file in WAL mode with `synchronous=FULL`: a transaction that has been committed is on the
disk. The log is append-only, and an event's offset is its row number, from 1.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tastemap.errors import TastemapError

__all__ = ["Event", "EventLog", "IdConflictError", "Recorded", "StateError"]

FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
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
_COLUMNS = "id, user, item, kind, time, value, digest"


class StateError(TastemapError):
    """The state folder cannot be used, or an event could not be written; the message says why."""


class IdConflictError(TastemapError):
    """An event id came again with another content.

    Attributes:
        index: the position of the event in its batch.
    """

    def __init__(self, index: int, id_: str) -> None:
        self.index = index
        super().__init__(f"the event id {id_[:80]!r} was already used for another event")


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did. Ids are external, as text.

    Attributes:
        time: Unix seconds.
        value: a rating, or the weight of the event's kind.
        id: the sender's own id of the event; the same id is never recorded twice.
        digest: a hash of what was sent under that id.
    """

    user: str
    item: str
    kind: str
    time: float
    value: float
    id: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: the events that are new, and how many were there already."""

    accepted: list[Event]
    duplicates: int


class EventLog:
    """The log of one state folder, which one server at a time may hold.

    Args:
        folder: where the file `events.sqlite` lies, or is made.

    Attributes:
        last_offset: the offset of the newest event, 0 for an empty log.

    Raises:
        StateError: the folder cannot be written, another server holds it, or the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(
                f"the state folder {folder} cannot be written: {error.strerror}. "
                "Choose another one with --state"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateError(
                f"another server is using the state folder {folder}. "
                "Stop it, or choose another folder with --state"
            ) from None
        try:
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._prepare()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise StateError(
                f"the event log {self.path} cannot be used: {error}. Put back a copy, or move "
                "it away to begin an empty one"
            ) from error
        except StateError:
            os.close(self._lock)
            raise

    def _prepare(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise StateError(
                f"the event log {self.path} was written by a newer tastemap (format {found}, this "
                f"one knows {FORMAT}). Upgrade tastemap"
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={FORMAT}")
        self.last_offset = self._find_last()

    def _find_last(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(offset), 0) FROM events").fetchone()[0])

    def append(self, batches: Sequence[Sequence[Event]]) -> list[Recorded | IdConflictError]:
        """Records batches of events, durable when this returns, in one transaction.

        Each batch is recorded whole, or, where one of its ids was used for another event, not at
        all. Not to be called by two threads at once.

        Raises:
            StateError: nothing was recorded, since the disk is full or fails.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = [self._append_batch(batch) for batch in batches]
                last = self._find_last()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StateError(f"the events could not be recorded: {error}") from error
        self.last_offset = last
        return results

    def _append_batch(self, batch: Sequence[Event]) -> Recorded | IdConflictError:
        accepted: list[Event] = []
        self._db.execute("SAVEPOINT batch")
        for index, event in enumerate(batch):
            if event.id is not None:
                known = self._db.execute(
                    "SELECT digest FROM events WHERE id = ?", (event.id,)
                ).fetchone()
                if known is not None:
                    if known[0] == event.digest:
                        continue
                    self._db.execute("ROLLBACK TO batch")
                    self._db.execute("RELEASE batch")
                    return IdConflictError(index, event.id)
            self._db.execute(
                f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    event.id,
                    event.user,
                    event.item,
                    event.kind,
                    event.time,
                    event.value,
                    event.digest,
                ),
            )
            accepted.append(event)
        self._db.execute("RELEASE batch")
        return Recorded(accepted, len(batch) - len(accepted))

    def since(self, offset: int, *, size: int = 10_000) -> Iterator[tuple[int, list[Event]]]:
        """The events after an offset, oldest first, in lists of at most `size`, each with the
        offset of its last event. What is appended meanwhile comes too."""
        while True:
            with self._reader() as reader:
                rows = reader.execute(
                    f"SELECT offset, {_COLUMNS} FROM events WHERE offset > ? "
                    "ORDER BY offset LIMIT ?",
                    (offset, size),
                ).fetchall()
            if not rows:
                return
            offset = rows[-1][0]
            yield (
                offset,
                [
                    Event(user, item, kind, time, value, id_, digest)
                    for _, id_, user, item, kind, time, value, digest in rows
                ],
            )

    def _reader(self) -> closing[sqlite3.Connection]:
        # A connection of its own, so that a reader never waits for, or sees half of, a transaction.
        return closing(sqlite3.connect(self.path))

    def close(self) -> None:
        """Gives the folder free for another server."""
        self._db.close()
        os.close(self._lock)
