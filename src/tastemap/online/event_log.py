"""The event log: what people did since the release was made, kept through any crash.

One SQLite file in WAL mode with `synchronous=FULL`: a transaction that has been committed is on the
disk. Events are only added behind, and an event's offset is its number, from 1, in the order of the
commits of all processes. The one thing that is ever removed is a user, with all their events.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tastemap.online.events import Event, IdConflictError, ItemChange, News, Position, Recorded
from tastemap.online.log_file import BUSY_SECONDS, LogFile, StateError, key_of

__all__ = ["EventLog", "EventReader"]

_COLUMNS = "user, item, kind, time, value, id, digest, duration, token, context"
_READ = f"{_COLUMNS}, offset"


class EventReader:
    """The log of a state folder for those who only read it, while others write.

    Args:
        folder: where the file `events.sqlite` lies.

    Raises:
        StateError: there is no log in the folder, or it is damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self._open(LogFile(folder, writable=False))

    def _open(self, file: LogFile) -> None:
        self._file = file
        self.path = file.path
        self._reading = threading.Lock()
        self._reader = file.reader()

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """One state of the log, whatever is committed meanwhile."""
        try:
            with self._reading:
                self._reader.execute("BEGIN")
                try:
                    yield self._reader
                finally:
                    self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise StateError(f"the event log {self.path} cannot be read: {error}") from error

    def key(self, id_: str) -> bytes:
        """What stands for an id where the id itself must not be kept, 16 bytes."""
        return key_of(self._file.secret, id_)

    def version(self) -> int:
        """A number that changes with each commit of any process. It costs microseconds.

        Raises:
            StateError: the log cannot be read.
        """
        try:
            with self._reading:
                return int(self._reader.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StateError(f"the event log {self.path} cannot be read: {error}") from error

    @property
    def last_offset(self) -> int:
        """The offset of the newest event that there ever was, 0 for an empty log."""
        with self._snapshot() as database:
            return _last_offset(database)

    def news(self, position: Position, *, size: int = 10_000) -> Iterator[News]:
        """What stands behind a position, oldest first, at most `size` events at a time.

        Raises:
            StateError: the log cannot be read.
        """
        while True:
            with self._snapshot() as database:
                forgotten = database.execute(
                    "SELECT number, user_key FROM forgotten WHERE number > ? ORDER BY number",
                    (position.forgotten,),
                ).fetchall()
                rows = database.execute(
                    f"SELECT {_READ} FROM events WHERE offset > ? ORDER BY offset LIMIT ?",
                    (position.offset, size),
                ).fetchall()
                items = database.execute(
                    "SELECT number, item, attributes FROM items WHERE number > ? ORDER BY number",
                    (position.items,),
                ).fetchall()
            if not rows and not forgotten and not items:
                return
            events = [_event(row) for row in rows]
            position = Position(
                events[-1].offset if events else position.offset,
                forgotten[-1][0] if forgotten else position.forgotten,
                items[-1][0] if items else position.items,
            )
            yield News(
                position,
                [key for _, key in forgotten],
                events,
                [_change(*row[1:]) for row in items],
            )
            if len(rows) < size:
                return

    def since(self, offset: int, *, size: int = 10_000) -> Iterator[tuple[int, list[Event]]]:
        """The events after an offset, oldest first, in lists of at most `size`, each with the
        offset of its last event."""
        for news in self.news(Position(offset), size=size):
            if news.events:
                yield news.position.offset, news.events

    def events_of(self, user: str) -> list[Event]:
        """All events of one user, oldest first."""
        with self._snapshot() as database:
            rows = database.execute(
                f"SELECT {_READ} FROM events WHERE user_key = ? AND user = ? ORDER BY offset",
                (self.key(user), user),
            ).fetchall()
        return [_event(row) for row in rows]

    def recent(self, offset: int, n: int) -> list[Event]:
        """The last n events up to an offset, oldest first."""
        with self._snapshot() as database:
            rows = database.execute(
                f"SELECT {_READ} FROM events WHERE offset <= ? ORDER BY offset DESC LIMIT ?",
                (offset, n),
            ).fetchall()
        return [_event(row) for row in reversed(rows)]

    def item_changes(self) -> list[ItemChange]:
        """The last change of each item that was announced or taken away, in their order."""
        with self._snapshot() as database:
            rows = database.execute("SELECT item, attributes FROM items ORDER BY number").fetchall()
        return [_change(*row) for row in rows]

    def returned(self, offset: int) -> list[Event]:
        """The events up to an offset of users who had been forgotten and came again."""
        with self._snapshot() as database:
            rows = database.execute(
                f"SELECT {_READ} FROM events WHERE offset <= ? "
                "AND user_key IN (SELECT user_key FROM forgotten) ORDER BY offset",
                (offset,),
            ).fetchall()
        return [_event(row) for row in rows]

    def forgotten(self, users: Sequence[str]) -> list[bool]:
        """For each of some users, whether they were removed. What older data hold of such a user is
        not to be used any more; what the log holds came later."""
        with self._snapshot() as database:
            keys = {key for (key,) in database.execute("SELECT user_key FROM forgotten")}
        return [bool(keys) and self.key(user) in keys for user in users]

    def close(self) -> None:
        """Lets the log go."""
        self._reader.close()
        self._file.release()


class EventLog(EventReader):
    """The log of a state folder, for reading and writing. Any number of processes may have one.

    Args:
        folder: where the file `events.sqlite` lies, or is made.

    Raises:
        StateError: the folder cannot be written, or the file is damaged or of a newer format.
    """

    def __init__(self, folder: Path) -> None:
        file = LogFile(folder, writable=True)
        self._open(file)
        self._db = file.writer()
        self._writing = threading.Lock()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Writes that become durable together, and wait for those of other processes."""
        with self._writing:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def append(self, batches: Sequence[Sequence[Event]]) -> list[Recorded | IdConflictError]:
        """Records batches of events, durable when this returns, in one transaction.

        Each batch is recorded whole, or, where one of its ids was used for another event, not at
        all.

        Raises:
            StateError: nothing was recorded, since the disk is full or fails, or other processes
                kept the log to themselves for too long.
        """
        try:
            with self._transaction():
                return [self._append_batch(batch) for batch in batches]
        except sqlite3.Error as error:
            raise StateError(f"the events could not be recorded: {error}") from error

    def _append_batch(self, batch: Sequence[Event]) -> Recorded | IdConflictError:
        accepted: list[Event] = []
        self._db.execute("SAVEPOINT batch")
        for index, event in enumerate(batch):
            id_key = None if event.id is None else self.key(event.id)
            if event.id is not None:
                known = self._db.execute(
                    "SELECT digest FROM events WHERE id_key = ?", (id_key,)
                ).fetchone()
                if known is not None:
                    if known[0] == event.digest:
                        continue
                    self._db.execute("ROLLBACK TO batch")
                    self._db.execute("RELEASE batch")
                    return IdConflictError(index, event.id)
            self._db.execute(
                f"INSERT INTO events ({_COLUMNS}, id_key, user_key) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*_row(event), id_key, self.key(event.user)),
            )
            accepted.append(event)
        self._db.execute("RELEASE batch")
        return Recorded(accepted, len(batch) - len(accepted))

    def change_items(self, changes: Sequence[ItemChange]) -> None:
        """Announces items or takes them away, durable when this returns, all or none. Of an item
        only its last change is kept.

        Raises:
            StateError: nothing was changed; the log cannot be written.
        """
        try:
            with self._transaction():
                self._change_items(changes)
        except sqlite3.Error as error:
            raise StateError(f"the items could not be recorded: {error}") from error

    def _change_items(self, changes: Sequence[ItemChange]) -> None:
        for change in changes:
            # A number of its own each time, so that readers notice.
            self._db.execute("DELETE FROM items WHERE item = ?", (change.item,))
            told = None if change.attributes is None else json.dumps(change.attributes)
            self._db.execute(
                "INSERT INTO items (item, attributes) VALUES (?, ?)", (change.item, told)
            )

    def forget(self, user: str) -> int:
        """Removes all events of a user for good, and tells all readers to forget them.

        What is deleted is overwritten in the file, and the WAL, which may hold it still, is
        emptied. Of the user a keyed hash stays, so that a release made from older data does not
        bring them back. Whoever can read the folder has its secret too, and so can check a guessed
        id against the hash.

        Returns:
            How many events were removed.

        Raises:
            StateError: the log cannot be written, or long readings kept the WAL from being emptied;
                calling again goes on where it stopped.
        """
        try:
            with self._transaction():
                removed = self._forget(user)
            self._empty_wal()
        except sqlite3.Error as error:
            raise StateError(f"the user could not be removed: {error}") from error
        return removed

    def _forget(self, user: str) -> int:
        key = self.key(user)
        removed = self._db.execute(
            "DELETE FROM events WHERE user_key = ? AND user = ?", (key, user)
        ).rowcount
        # A number of its own each time, so that readers notice one who left again.
        self._db.execute("DELETE FROM forgotten WHERE user_key = ?", (key,))
        self._db.execute("INSERT INTO forgotten (user_key) VALUES (?)", (key,))
        return removed

    def _empty_wal(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            with self._writing:
                busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if time.monotonic() >= deadline:
                raise StateError(
                    "the user's events are deleted, but others are reading the log, so that it "
                    "could not be overwritten yet. Ask again"
                )
            time.sleep(0.05)

    def close(self) -> None:
        """Lets the log go."""
        self._db.close()
        super().close()


def _row(event: Event) -> tuple[Any, ...]:
    return (
        event.user,
        event.item,
        event.kind,
        event.time,
        event.value,
        event.id,
        event.digest,
        event.duration,
        event.token,
        None if event.context is None else json.dumps(event.context),
    )


def _event(row: tuple[Any, ...]) -> Event:
    *_, context, _ = told = list(row)
    if context is not None:
        told[-2] = json.loads(context)
    return Event(*told)


def _change(item: str, attributes: str | None) -> ItemChange:
    return ItemChange(item, None if attributes is None else json.loads(attributes))


def _last_offset(database: sqlite3.Connection) -> int:
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if found is None else int(found[0])
