"""The file of the event log: its tables, its format, and who may open it.

Any number of processes may have the log open at once, each to read or to write: SQLite's WAL keeps
their transactions apart. What is unsafe is to change the format while somebody works with the old
one. So who has the log open holds `LOCK` shared, and it is made or upgraded by one who holds it
alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from tastemap.errors import TastemapError

__all__ = ["BUSY_SECONDS", "LogFile", "StateError", "key_of"]

FORMAT = 4
BUSY_SECONDS = 10.0
_WAIT_SECONDS = 10.0

# Times and values have no declared type, so that SQLite stores them as they come. The two indices
# are over keyed hashes: an index over the texts themselves would leave copies of them in the unused
# parts of its pages, where `secure_delete` does not reach. Rows of the table itself are only added
# behind, and so never copied from one page to another.
_TABLES = (
    """
    CREATE TABLE events (
        offset   INTEGER PRIMARY KEY AUTOINCREMENT,
        id       TEXT,
        id_key   BLOB UNIQUE,
        user     TEXT NOT NULL,
        user_key BLOB NOT NULL,
        item     TEXT NOT NULL,
        kind     TEXT NOT NULL,
        time     NOT NULL,
        value    NOT NULL,
        digest   BLOB,
        duration,
        token    TEXT
    )
    """,
    "CREATE INDEX events_of_users ON events (user_key)",
    """
    CREATE TABLE forgotten (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        user_key BLOB NOT NULL UNIQUE
    )
    """,
    "CREATE TABLE secret (key BLOB NOT NULL)",
)
_ITEMS = """
    CREATE TABLE items (
        number     INTEGER PRIMARY KEY AUTOINCREMENT,
        item       TEXT NOT NULL UNIQUE,
        attributes TEXT
    )
    """
# Of a column added behind, rows that stand there already are not written anew.
_CONTEXT = "ALTER TABLE events ADD COLUMN context TEXT"


class StateError(TastemapError):
    """The state folder cannot be used, or an event could not be written; the message says why."""


def key_of(secret: bytes, text: str) -> bytes:
    """A keyed hash of an id, 16 bytes (BLAKE2b). Without the log's secret it tells nothing."""
    return hashlib.blake2b(text.encode(), digest_size=16, key=secret).digest()


class LogFile:
    """The log of one state folder, of the format of this version, held open.

    Args:
        folder: where `events.sqlite` and `LOCK` lie.
        writable: also for writing; what is missing is made, and an older format upgraded.

    Attributes:
        path: of the database.
        secret: the key of the log's hashes of ids.

    Raises:
        StateError: there is no log, it cannot be made, read or upgraded, it is damaged or of a
            newer format.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.path = folder / "events.sqlite"
        self._lock = self._open_lock(folder, writable)
        try:
            self._hold(folder, writable)
            with closing(self.reader()) as database:
                self.secret: bytes = database.execute("SELECT key FROM secret").fetchone()[0]
        except sqlite3.Error as error:
            self.release()
            raise StateError(
                f"the event log {self.path} cannot be used: {error}. Put back a copy, or move "
                "it away to begin an empty one"
            ) from error
        except BaseException:
            self.release()
            raise

    def _open_lock(self, folder: Path, writable: bool) -> int:
        try:
            if not writable:
                return os.open(folder / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
            folder.mkdir(parents=True, exist_ok=True)
            return os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if not writable:
                raise StateError(
                    f"there is no event log in {folder} ({error.strerror}). `tastemap serve` makes "
                    "one; name its folder with --state"
                ) from error
            raise StateError(
                f"the state folder {folder} cannot be written: {error.strerror}. "
                "Choose another one with --state"
            ) from error

    def _hold(self, folder: Path, writable: bool) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            if writable and self._locked(fcntl.LOCK_EX):
                self._make_or_upgrade()
            # Not one step with the above, so that the format is looked at again.
            held = self._locked(fcntl.LOCK_SH)
            found = self._format() if held else None
            if found == FORMAT:
                return
            if found is not None and found > FORMAT:
                raise StateError(
                    f"the event log {self.path} was written by a newer tastemap (format {found}, "
                    f"this one knows {FORMAT}). Upgrade tastemap"
                )
            if found is not None and not writable:
                raise StateError(
                    f"the event log {self.path} was written by an older tastemap (format {found}). "
                    "`tastemap serve` upgrades it when it starts"
                )
            if time.monotonic() >= deadline:
                raise StateError(
                    f"an older tastemap is using the state folder {folder}, so its log cannot be "
                    "upgraded. Stop it, or choose another folder with --state"
                )
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            time.sleep(0.05)

    def _locked(self, how: int) -> bool:
        try:
            fcntl.flock(self._lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _format(self) -> int:
        if not self.path.exists():
            return 0
        with closing(self.reader()) as database:
            return int(database.execute("PRAGMA user_version").fetchone()[0])

    def _make_or_upgrade(self) -> None:
        with closing(self.writer()) as database:
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found >= FORMAT:
                return
            database.execute("PRAGMA journal_mode=WAL")
            # Durable whole or not at all, so that a kill half-way leaves the log as it was.
            with database:
                database.execute("BEGIN IMMEDIATE")
                if found < 2:
                    self._to_format_2(database)
                if found < 3:
                    database.execute(_ITEMS)
                database.execute(_CONTEXT)
                database.execute(f"PRAGMA user_version={FORMAT}")

    def _to_format_2(self, database: sqlite3.Connection) -> None:
        secret = secrets.token_bytes(32)
        old = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events'").fetchone()
        if old:
            database.execute("ALTER TABLE events RENAME TO events_1")
        for table in _TABLES:
            database.execute(table)
        database.execute("INSERT INTO secret VALUES (?)", (secret,))
        if old:
            database.create_function(
                "key_of", 1, lambda text: None if text is None else key_of(secret, text)
            )
            database.execute(
                "INSERT INTO events (offset, id, id_key, user, user_key, item, kind, time, value, "
                "digest) SELECT offset, id, key_of(id), user, key_of(user), item, kind, time, "
                "value, digest FROM events_1 ORDER BY offset"
            )
            database.execute("DROP TABLE events_1")

    def reader(self) -> sqlite3.Connection:
        """A new connection that cannot write."""
        return self._connect("ro")

    def writer(self) -> sqlite3.Connection:
        """A new connection whose commits are on the disk when they return, and which overwrites
        what it deletes."""
        database = self._connect("rwc")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA secure_delete=ON")
        return database

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )

    def release(self) -> None:
        """Lets the folder go."""
        os.close(self._lock)
