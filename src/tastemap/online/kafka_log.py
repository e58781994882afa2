"""An event log that machines share which share no disk: a topic of Kafka, copied by each."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from tastemap.errors import ParameterError
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, IdConflictError, ItemChange, Recorded
from tastemap.online.kafka import consumer_of, made_topic, producer_of
from tastemap.online.log_file import StateError
from tastemap.storage.atomic import replace_file

if TYPE_CHECKING:
    from confluent_kafka import Message

__all__ = ["KafkaLog", "KafkaTopic"]

log = logging.getLogger("tastemap.online")

_EVENT = TypeAdapter(Event)
_CHANGES = TypeAdapter(list[ItemChange])
_UNKNOWN = object()


@dataclass(frozen=True)
class KafkaTopic:
    """A topic that is an event log; called with a folder for the copy it opens it."""

    settings: Mapping[str, Any]
    topic: str

    def __call__(self, folder: Path) -> KafkaLog:
        return KafkaLog(folder, self.settings, self.topic)


class KafkaLog(EventLog):
    """An event log whose events are in a topic, and in a copy in the state folder to read from.

    The topic has one partition, so that all machines have all events in one order, and an event's
    offset is one more than that of its message: on each machine the same, as releases need it. Any
    number of processes of a machine may share a folder.

    An event is acknowledged when all replicas in sync have it, and the copy of this machine has it
    too; the others have it a moment later. Where the brokers are away reading goes on, and nothing
    is acknowledged. A write of which nothing was heard in time may be in the topic all the same:
    events are there at least once, and those with ids count once, since a copy leaves out what it
    knows. An id that comes again with another content is refused where this copy knows the first;
    where both come at once, to two machines, the first in the topic counts, and the sender of the
    other is told that it was there already.

    A user who is removed is removed from all copies that follow, and from those that begin anew.
    The topic itself holds their events, and the order to remove them, until Kafka drops them by
    `retention.ms`: set it to the longest time for which they may stay, and not below that for
    which a machine may be away.

    Args:
        folder: where the copy lies, or is made; nothing else writes into it.
        settings: of the clients (see `settings_of`).
        topic: made with one partition where there is none.
        seconds: for which brokers, and then the copy, are waited for.

    Raises:
        ParameterError: the topic has several partitions, or a setting makes no sense.
        MissingExtraError: Kafka's client is not installed.
        StateError: the folder cannot be used, or its copy is of another topic.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], topic: str, *, seconds: float = 5.0
    ) -> None:
        self._topic, self._seconds = topic, seconds
        self._producer = producer_of(settings, seconds)
        self._consumer = consumer_of(settings, "tastemap-log")
        made_topic(settings, topic, partitions=1, **{"retention.ms": "-1"})
        super().__init__(folder)
        self._stop = threading.Event()
        try:
            self._begin()
        except BaseException:
            super().close()
            raise
        self._follower = threading.Thread(target=self._follow, name="kafka-log", daemon=True)
        self._follower.start()

    def _begin(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        copied = self.last_offset
        self._claim(copied)
        partition = TopicPartition(self._topic, 0, copied)
        try:
            found = self._consumer.list_topics(self._topic, timeout=self._seconds)
            if len(found.topics[self._topic].partitions) > 1:
                raise ParameterError(
                    f"the topic {self._topic} has several partitions, and as an event log it must "
                    "have one. Name another topic"
                )
            _, end = self._consumer.get_watermark_offsets(partition, timeout=self._seconds)
            if end < copied:
                raise StateError(
                    f"the event log {self.path} goes to {copied} and the topic {self._topic} to "
                    f"{end}: it is another topic, or was made anew. Name an empty state folder"
                )
        except KafkaException as error:
            log.error("Kafka is away; events are recorded when it is back: %s", error)
        self._consumer.assign([partition])

    def _claim(self, copied: int) -> None:
        """Writes down whose copy the folder is."""
        mark = self.path.with_name("KAFKA_TOPIC")
        if not mark.exists() and copied == 0:
            replace_file(mark, self._topic.encode())
        found = mark.read_text() if mark.exists() else "none"
        if found != self._topic:
            raise StateError(
                f"the event log {self.path} is a copy of the topic {found}, not of {self._topic}. "
                "Name another state folder"
            )

    # -- what is in the topic, into the copy ---------------------------------------------------

    def _follow(self) -> None:
        while not self._stop.is_set():
            messages = []
            # Short, since whoever has sent something waits for it.
            for message in self._consumer.consume(1000, 0.005):
                if (error := message.error()) is None:
                    messages.append(message)
                else:
                    log.warning("Kafka: %s", error.str())
            while messages and not self._stop.is_set():
                try:
                    self._copy(messages)
                    break
                except (sqlite3.Error, StateError) as error:
                    log.error("events of Kafka could not be copied: %s", error)
                    self._stop.wait(1.0)

    def _copy(self, messages: Sequence[Message]) -> None:
        """Copies what no process of this folder has copied yet."""
        forgot = False
        with self._transaction() as database:
            copied = _copied(database)
            for message in messages:
                offset = int(message.offset() or 0)
                if offset < copied:
                    continue
                # The number that is given next is one more.
                _set_copied(database, offset)
                forgot |= self._copy_one(message)
                copied = offset + 1
                _set_copied(database, copied)
        if forgot:
            self._empty_wal()

    def _copy_one(self, message: Message) -> bool:
        """Whether it was the removal of a user."""
        try:
            said = json.loads(message.value() or b"")
            if "forget" in said:
                self._forget(str(said["forget"]))
                return True
            if "items" in said:
                self._change_items(_CHANGES.validate_python(said["items"]))
                return False
            digest = said["digest"]
            said["digest"] = None if digest is None else bytes.fromhex(digest)
            event = _EVENT.validate_python(said)
        except (ValueError, TypeError, KeyError) as error:
            what = type(error).__name__
            log.error("passed over message %s, which is no event: %s", message.offset(), what)
            return False
        if isinstance(self._append_batch([event]), IdConflictError):
            log.error("passed over message %s: its id is another event's", message.offset())
        return False

    # -- what is new, into the topic -----------------------------------------------------------

    def append(self, batches: Sequence[Sequence[Event]]) -> list[Recorded | IdConflictError]:
        """As `EventLog.append`; the events are on all replicas in sync, and in this copy.

        Raises:
            StateError: no word of the brokers in time. Some events may have been recorded; with
                ids they can be sent again.
        """
        results: list[Recorded | IdConflictError] = []
        new: list[tuple[Recorded, Event]] = []
        ids: dict[str, bytes | None] = {}
        for batch in batches:
            result = self._fresh(batch, ids)
            if isinstance(result, IdConflictError):
                results.append(result)
                continue
            results.append(recorded := Recorded([], len(batch)))
            new += [(recorded, event) for event in result]
            ids |= {event.id: event.digest for event in result if event.id is not None}
        offsets = self._send([(event.user, _written(event)) for _, event in new])
        with self._snapshot() as database:
            there = [
                database.execute("SELECT 1 FROM events WHERE offset = ?", (offset + 1,)).fetchone()
                for offset in offsets
            ]
        accepted: dict[int, list[Event]] = {}
        for (recorded, event), found in zip(new, there, strict=True):
            if found is not None:
                accepted.setdefault(id(recorded), []).append(event)
        return [
            Recorded(mine := accepted.get(id(each), []), each.duplicates - len(mine))
            if isinstance(each, Recorded)
            else each
            for each in results
        ]

    def _fresh(
        self, batch: Sequence[Event], ids: Mapping[str, bytes | None]
    ) -> list[Event] | IdConflictError:
        """The events that neither the copy nor `ids` (with their digests) hold."""
        fresh: list[Event] = []
        ids = dict(ids)
        for index, event in enumerate(batch):
            if event.id is not None:
                known = ids.get(event.id, _UNKNOWN)
                if known is _UNKNOWN:
                    known = self._digest(event.id)
                if known is not _UNKNOWN and known != event.digest:
                    return IdConflictError(index, event.id)
                if known is not _UNKNOWN:
                    continue
                ids[event.id] = event.digest
            fresh.append(event)
        return fresh

    def _digest(self, id_: str) -> Any:
        with self._snapshot() as database:
            found = database.execute(
                "SELECT digest FROM events WHERE id_key = ?", (self.key(id_),)
            ).fetchone()
        return _UNKNOWN if found is None else found[0]

    def change_items(self, changes: Sequence[ItemChange]) -> None:
        """As `EventLog.change_items`, on all machines."""
        told = [asdict(change) for change in changes]
        self._send([("", json.dumps({"items": told}).encode())])

    def forget(self, user: str) -> int:
        """As `EventLog.forget`, on all machines; see the class for the topic itself."""
        removed = len(self.events_of(user))
        self._send([(user, json.dumps({"forget": user}).encode())])
        return removed

    def _send(self, messages: Sequence[tuple[str, bytes]]) -> list[int]:
        """The offsets of messages, by their keys and values, once they are in topic and copy."""
        if not messages:
            return []
        offsets: dict[int, int] = {}
        problems: list[str] = []

        def report(error: Any, message: Message, place: int) -> None:
            if error is None:
                offsets[place] = int(message.offset() or 0)
            else:
                problems.append(error.str())

        for place, (key, value) in enumerate(messages):
            self._producer.produce(
                self._topic,
                value,
                key.encode(),
                partition=0,
                on_delivery=partial(report, place=place),
            )
        self._producer.flush(self._seconds + 1)
        if len(offsets) < len(messages):
            why = problems[0] if problems else "no broker answers"
            raise StateError(f"the events could not be recorded in Kafka: {why}")
        end, deadline = max(offsets.values()) + 1, time.monotonic() + self._seconds
        while self.last_offset < end:
            if time.monotonic() > deadline:
                raise StateError("the events are in Kafka, and not in this machine's copy yet")
            time.sleep(0.001)
        return [offsets[place] for place in range(len(messages))]

    def close(self) -> None:
        """Lets the log go."""
        self._stop.set()
        self._follower.join()
        with suppress(RuntimeError):
            self._consumer.close()
        super().close()


def _written(event: Event) -> bytes:
    fields = asdict(event)
    fields["digest"] = None if event.digest is None else event.digest.hex()
    return json.dumps(fields).encode()


def _copied(database: sqlite3.Connection) -> int:
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if found is None else int(found[0])


def _set_copied(database: sqlite3.Connection, offset: int) -> None:
    if not database.execute(
        "UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (offset,)
    ).rowcount:
        database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (offset,))
