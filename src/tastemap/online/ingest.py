"""Events that other systems produce: from a Kafka topic into the event log of a state folder."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from tastemap.data.dataset import Dataset
from tastemap.errors import ParameterError, TastemapError
from tastemap.online.clock import now
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, IdConflictError
from tastemap.online.kafka import consumer_of, made_topic, producer_of
from tastemap.online.log_file import StateError
from tastemap.online.schemas.requests import EventBatch, EventIn
from tastemap.online.schemas.responses import errors_as_json
from tastemap.release import ReleaseStore, load_release

if TYPE_CHECKING:
    from confluent_kafka import Message, TopicPartition

__all__ = ["Ingest", "IngestError", "Taken", "Terms"]

log = logging.getLogger("tastemap.online")

DELIVERY_SECONDS = 30.0
RETRY_SECONDS = 1.0
_EVENTS: TypeAdapter[list[EventIn]] = TypeAdapter(EventBatch)


class IngestError(TastemapError):
    """Events cannot be read from Kafka any more; the message says why."""


class _BadMessageError(Exception):
    """Why a message cannot be recorded, as JSON: the body of the refusal of POST /events."""


@dataclass
class Taken:
    """What became of messages.

    Attributes:
        recorded: events that are new in the log.
        duplicates: events that were there already.
        refused: messages that went to the topic of the dead letters.
    """

    recorded: int = 0
    duplicates: int = 0
    refused: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.recorded + other.recorded,
            self.duplicates + other.duplicates,
            self.refused + other.refused,
        )


class Terms:
    """What a release says of events: which items there are, and what is usual where an event does
    not say. A release store is followed.

    Args:
        release: a release store, a saved pipeline, or a saved model.

    Raises:
        ReleaseError: there is no release, or it is damaged.
    """

    def __init__(self, release: Path) -> None:
        self._path = release
        self._load()

    def _load(self) -> None:
        loaded = load_release(self._path)
        self._version = loaded.version
        self._data: Dataset = loaded.object.data

    def follow(self) -> None:
        """Looks whether the store serves another release; one that is damaged is passed over."""
        try:
            store = ReleaseStore(self._path)
            if ReleaseStore.is_store(self._path) and store.current_version() != self._version:
                self._load()
        except TastemapError as error:
            log.error("kept the terms of release %s: %s", self._version, error)

    def event(self, event: EventIn, moment: float) -> Event:
        """The event with what is usual filled in."""
        data = self._data
        return event.event(now=moment, kind=data.usual_kind, usual=data.usual_value)

    def unknown(self, items: Sequence[str]) -> list[int]:
        """The places of the items that the release does not hold."""
        return [place for place, row in enumerate(self._data.items.rows(items)) if row == 0]


class Ingest:
    """Reads a topic as a member of a consumer group, and writes its events into a log.

    The value of a message is what `POST /events` takes, one event or a list, and is checked in the
    same way. Offsets are committed only when the events are on the disk, so that none is lost. An
    event without an id gets one of the place of its message in the topic, so that none is doubled
    when a message is read again. An event without a time has that of its message.

    A message that is refused goes to another topic, as it came, with the headers "reason" (JSON, as
    the body of an answer 422 or 409), "topic", "partition" and "offset", and is there before its
    offset is committed. After a kill it may be there twice.

    Args:
        settings: of the clients (see `settings_of`).
        topic: what is read.
        log: where events are written.
        group: whose members share the partitions of the topic.
        dead: the topic of the messages that are refused; made where there is none.
        terms: what is checked and filled in by a release; None to take any item, the kind "view"
            and the value 1 where an event does not say.

    Raises:
        ParameterError: a setting or a name makes no sense.
        MissingExtraError: Kafka's client is not installed.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        log: EventLog,
        *,
        group: str = "tastemap",
        dead: str | None = None,
        terms: Terms | None = None,
    ) -> None:
        self._topic = topic
        self._dead = f"{topic}.dead" if dead is None else dead
        if not topic or not group or self._dead == topic:
            raise ParameterError("name a topic, a group, and another topic for what is refused")
        self._log = log
        self._terms = terms
        self._producer = producer_of(settings, DELIVERY_SECONDS)
        made_topic(settings, self._dead, partitions=1)
        self._consumer = consumer_of(settings, group)
        self._consumer.subscribe([topic])

    def step(self, seconds: float = 1.0, *, most: int = 500) -> Taken:
        """Takes the messages that come within some seconds, at most so many, and returns when their
        events are on the disk and their offsets committed.

        Where the log cannot be written, or a refused message not be put away, they are read again
        by the next step.

        Raises:
            IngestError: Kafka's client has failed for good.
        """
        messages = [each for each in self._consumer.consume(most, seconds) if self._good(each)]
        if not messages:
            return Taken()
        if self._terms is not None:
            self._terms.follow()
        try:
            taken = self._record(messages)
        except StateError as error:
            log.error("%s; the messages are read again", error)
            self._rewind(messages)
            time.sleep(RETRY_SECONDS)
            return Taken()
        self._commit(messages)
        return taken

    def _good(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal():
            raise IngestError(f"Kafka's client has failed: {error.str()}")
        log.warning("Kafka: %s", error.str())
        return False

    def _record(self, messages: Sequence[Message]) -> Taken:
        taken = Taken()
        refused: list[tuple[Message, str]] = []
        batches: list[list[Event]] = []
        sources = []
        for message in messages:
            try:
                batches.append(self._events(message))
                sources.append(message)
            except _BadMessageError as error:
                refused.append((message, str(error)))
        for message, result in zip(sources, self._log.append(batches), strict=True):
            if isinstance(result, IdConflictError):
                where = {"loc": ["body", result.index, "id"], "type": "id_conflict"}
                refused.append((message, errors_as_json([{**where, "msg": str(result)}]).decode()))
            else:
                taken.recorded += len(result.accepted)
                taken.duplicates += result.duplicates
        self._put_away(refused)
        taken.refused = len(refused)
        return taken

    def _events(self, message: Message) -> list[Event]:
        try:
            sent = _EVENTS.validate_python(json.loads(message.value() or b""))
        except ValidationError as error:
            reason = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
            raise _BadMessageError(errors_as_json(reason).decode()) from None
        except (ValueError, RecursionError) as error:
            raise _bad(["body"], f"is not JSON: {error}", "json_invalid") from None
        kind, milliseconds = message.timestamp()
        moment = milliseconds / 1000 if kind else now()
        place = f"{message.topic()}/{message.partition()}/{message.offset()}/{milliseconds}"
        events = []
        for number, each in enumerate(sent):
            if each.id is None:
                each = each.model_copy(update={"id": f"{place}/{number}"})
            if self._terms is None:
                events.append(each.event(now=moment, kind="view", usual=lambda kind: 1.0))
            else:
                events.append(self._terms.event(each, moment))
        if self._terms is not None:
            for number in self._terms.unknown([each.item for each in events])[:1]:
                problem = f"unknown item: {events[number].item[:80]!r}"
                raise _bad(["body", number, "item"], problem, "unknown_item")
        return events

    def _put_away(self, refused: Sequence[tuple[Message, str]]) -> None:
        """Sends what was refused to its topic.

        Raises:
            StateError: it is not there in time.
        """
        missing = len(refused)
        problems: list[str] = []

        def reported(error: object, _: object) -> None:
            nonlocal missing
            if error is None:
                missing -= 1
            else:
                problems.append(str(error))

        for message, reason in refused:
            log.warning(
                "refused a message (%s, partition %s, offset %s): %s",
                *(message.topic(), message.partition(), message.offset(), reason[:500]),
            )
            self._producer.produce(
                self._dead,
                message.value(),
                message.key(),
                headers={
                    "reason": reason.encode(),
                    "topic": str(message.topic()).encode(),
                    "partition": str(message.partition()).encode(),
                    "offset": str(message.offset()).encode(),
                },
                on_delivery=reported,
            )
        self._producer.flush(DELIVERY_SECONDS)
        if missing:
            why = problems[0] if problems else "no broker answers"
            raise StateError(f"{missing} messages could not be put into {self._dead}: {why}")

    def _commit(self, messages: Sequence[Message]) -> None:
        from confluent_kafka import KafkaException

        try:
            self._consumer.commit(offsets=_behind(messages, 1, max), asynchronous=False)
        except KafkaException as error:
            # As after a kill: they are read again, and known.
            log.warning("offsets could not be committed: %s", error)

    def _rewind(self, messages: Sequence[Message]) -> None:
        from confluent_kafka import KafkaException

        for place in _behind(messages, 0, min):
            try:
                self._consumer.seek(place)
            except KafkaException as error:
                # It is another member's by now, who reads from what was committed.
                log.warning("%s is not read again here: %s", place, error)

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()


def _bad(loc: Sequence[str | int], problem: str, type_: str) -> _BadMessageError:
    return _BadMessageError(errors_as_json([{"loc": loc, "msg": problem, "type": type_}]).decode())


def _behind(
    messages: Sequence[Message], step: int, pick: Callable[[list[int]], int]
) -> list[TopicPartition]:
    """For each partition of some messages one of their offsets, and so many further."""
    from confluent_kafka import TopicPartition

    offsets: dict[tuple[str, int], list[int]] = {}
    for message in messages:
        place = (str(message.topic()), int(message.partition() or 0))
        offsets.setdefault(place, []).append(int(message.offset() or 0))
    return [TopicPartition(*place, pick(some) + step) for place, some in offsets.items()]
