"""Events of other systems: from topics of Kafka into the log, none lost and none doubled."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from servers import KafkaServer

from tastemap.errors import ParameterError
from tastemap.online import ingest as ingesting
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event
from tastemap.online.ingest import Ingest, Taken, Terms
from tastemap.online.kafka import settings_of
from tastemap.online.log_file import StateError


@pytest.fixture(scope="module")
def tansu() -> Iterator[str]:
    with KafkaServer() as server:
        yield server.brokers


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """Two brokers within librdkafka."""
    cluster = Producer({"test.mock.num.brokers": 2})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


@pytest.fixture
def topic() -> str:
    return f"clicks-{secrets.token_hex(4)}"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "state")
    yield log
    log.close()


def send(brokers: str, topic: str, *values: Any) -> None:
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5})
    for value in values:
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(topic, raw, key=b"k")
    assert producer.flush(20) == 0


def read(brokers: str, topic: str, n: int) -> list[Message]:
    """The first messages of a topic of one partition."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "none"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = []
    end = time.monotonic() + 30
    while len(found) < n:
        assert time.monotonic() < end, f"{len(found)} of {n} messages"
        found += [message for message in consumer.consume(1, 0.5) if message.error() is None]
    consumer.close()
    return found


def take(ingest: Ingest, n: int) -> Taken:
    """What became of n messages, or events."""
    total, end = Taken(), time.monotonic() + 30
    while total.recorded + total.duplicates + total.refused < n:
        assert time.monotonic() < end, total
        total += ingest.step(0.5)
    return total


def recorded(log: EventLog) -> list[Event]:
    return [event for _, events in log.since(0) for event in events]


def test_events_are_recorded_as_they_were_sent(mock: str, topic: str, log: EventLog) -> None:
    began = time.time()
    # The mock makes topics when they are asked for, and in no other way.
    Producer(settings_of(mock)).list_topics(f"{topic}.dead", timeout=10)
    send(
        mock,
        topic,
        {"user": "u", "item": "a", "kind": "like", "time": 5, "value": 2.5, "id": "x"},
        [{"user": 7, "item": "b"}, {"user": "v", "item": "c", "duration": 3.0, "token": "t"}],
        {"user": "u", "item": "a", "kind": "like", "time": 5, "value": 2.5, "id": "x"},
    )
    ingest = Ingest(settings_of(mock), topic, log)
    assert take(ingest, 4) == Taken(recorded=3, duplicates=1)
    ingest.close()
    first, second, third = sorted(recorded(log), key=lambda event: event.item)
    assert first == Event("u", "a", "like", 5.0, 2.5, "x", first.digest)
    assert (second.user, second.kind, second.value) == ("7", "view", 1.0)
    assert began - 1 < second.time < time.time() + 1  # Kafka's time of the message
    assert (third.duration, third.token) == (3.0, "t")


def test_bad_messages_go_to_the_dead_letters_with_the_reason(
    tansu: str, topic: str, log: EventLog, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What cannot be written at first is read again.
    append, failures = log.append, iter([True, True])

    def full(batches: Any) -> Any:
        if next(failures, False):
            raise StateError("the disk is full")
        return append(batches)

    monkeypatch.setattr(ingesting, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log, "append", full)
    bad = {
        b"{": "json_invalid",
        b"": "json_invalid",
        b"[" * 100_000: "json_invalid",
        b"\xff\xfe\x00": "json_invalid",
        b"{}": "missing",
        b'"text"': "list_type",
        b'{"user": "u", "item": "a", "value": NaN}': "finite_number",
        b'{"user": "u", "item": "a", "color": 1}': "extra_forbidden",
        b'[{"user": "u", "item": "a"}, {"user": "", "item": "a"}]': "too_short",
        b'{"user": "u", "item": "none such"}': "unknown_item",
        b'{"user": "u", "item": "i2", "id": "x"}': "id_conflict",
    }
    send(tansu, topic, {"user": "u", "item": "i1", "id": "x"}, None, *bad)
    ingest = Ingest(settings_of(tansu), topic, log, terms=Terms(few))
    assert take(ingest, 13) == Taken(recorded=1, refused=12)
    assert next(failures, None) is None
    ingest.close()
    letters = read(tansu, f"{topic}.dead", 12)
    reasons = {}
    for letter in letters:
        headers = dict(letter.headers() or [])
        assert headers["topic"] == topic.encode() and letter.key() == b"k"
        assert {"partition", "offset"} < set(headers)
        reasons[letter.value() or b""] = json.loads(headers["reason"])["detail"][0]["type"]
    assert reasons == bad
    assert [event.item for event in recorded(log)] == ["i1"]


_KILLED = """
import os, sys
from tastemap.cli import main
from tastemap.online.ingest import Ingest
done = iter(range(100))
commit, step = Ingest._commit, Ingest.step
def killed(self, messages):
    if next(done) == 1:
        os.kill(os.getpid(), 9)
    commit(self, messages)
Ingest._commit = killed
Ingest.step = lambda self: step(self, 0.2, most=300)
main()
"""


def test_a_kill_between_the_write_and_the_commit_doubles_nothing(
    tansu: str, topic: str, tmp_path: Path, log: EventLog
) -> None:
    send(tansu, topic, *[{"user": f"u{n}", "item": "a"} for n in range(1000)])
    file = tmp_path / "settings"
    file.write_text("# of a test\nsession.timeout.ms=3000\nheartbeat.interval.ms=500\n")
    options = ["--kafka", tansu, "--topic", topic, "--state", str(tmp_path / "state")]
    options += ["--kafka-settings", str(file)]
    killed = subprocess.run([sys.executable, "-c", _KILLED, "ingest", *options], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    already = log.last_offset
    assert 0 < already < 1000
    ingest = Ingest(settings_of(tansu, file), topic, log)
    total = take(ingest, 1000 - already)
    while total.recorded < 1000 - already:
        total += ingest.step(0.5)
    ingest.close()
    assert total.duplicates > 0
    assert sorted(event.user for event in recorded(log)) == sorted(f"u{n}" for n in range(1000))


def test_settings_that_make_no_sense_are_refused(tmp_path: Path, log: EventLog) -> None:
    file = tmp_path / "settings"
    file.write_text("sasl.username=me\nnonsense\n")
    with pytest.raises(ParameterError, match="line 2"):
        settings_of("127.0.0.1:1", file)
    with pytest.raises(ParameterError, match="HOST:PORT"):
        settings_of(" ")
    with pytest.raises(ParameterError, match="cannot be read"):
        settings_of("127.0.0.1:1", tmp_path)
    file.write_text("no.such.setting=1\n")
    with pytest.raises(ParameterError, match=r"no\.such\.setting"):
        Ingest(settings_of("127.0.0.1:1", file), "t", log)
