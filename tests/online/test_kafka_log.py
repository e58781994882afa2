"""The event log in Kafka: machines that share no disk have the same events at the same offsets."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from fastapi.testclient import TestClient
from servers import KafkaServer, wait_until

from tastemap.errors import ParameterError
from tastemap.online import create_app
from tastemap.online.engine import Engine
from tastemap.online.events import Event, IdConflictError, ItemChange, Recorded
from tastemap.online.kafka import settings_of
from tastemap.online.kafka_log import _UNKNOWN, KafkaLog, KafkaTopic
from tastemap.online.log_file import StateError
from tastemap.online.questions import Ask, Found

Open = Callable[..., KafkaLog]


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


@pytest.fixture
def topic() -> str:
    return f"events-{secrets.token_hex(4)}"


@pytest.fixture
def open_log(server: KafkaServer, topic: str, tmp_path: Path) -> Iterator[Open]:
    opened: list[KafkaLog] = []

    def begin(machine: str, seconds: float = 5.0) -> KafkaLog:
        folder = tmp_path / machine
        opened.append(KafkaLog(folder, settings_of(server.brokers), topic, seconds=seconds))
        return opened[-1]

    yield begin
    for log in opened:
        if not log._stop.is_set():
            log.close()


def event(user: str, item: str, id_: str | None = None, digest: bytes = b"d") -> Event:
    return Event(user, item, "view", time.time(), 1.0, id_, None if id_ is None else digest)


def all_of(log: KafkaLog) -> list[tuple[int, str, str]]:
    with log._snapshot() as database:
        return list(database.execute("SELECT offset, user, item FROM events ORDER BY offset"))


def test_machines_have_the_same_events_at_the_same_offsets(open_log: Open) -> None:
    here, beside, there = open_log("one"), open_log("one"), open_log("two")
    first = replace(event("u", "a", "x"), context={"device": "tv", "hour": 7.5})
    (recorded,) = here.append([[first, event("v", "b")]])
    assert isinstance(recorded, Recorded) and recorded.duplicates == 0
    assert [each.item for each in recorded.accepted] == ["a", "b"]
    # What another process of the machine has acknowledged is there for all of them.
    assert beside.events_of("u") == here.events_of("u") == [first]
    wait_until(lambda: there.last_offset == 2)
    assert there.events_of("u") == [first]
    # Sent again to another machine, an event is the same; another event of its id is refused, and
    # all of its batch with it.
    same, other, new = there.append(
        [[first], [event("w", "c"), event("w", "d", "x", b"other")], [event("w", "e")]]
    )
    assert same == Recorded([], 1)
    assert isinstance(other, IdConflictError) and other.index == 1
    assert isinstance(new, Recorded) and len(new.accepted) == 1
    wait_until(lambda: here.last_offset == there.last_offset)
    assert all_of(here) == all_of(there) == [(1, "u", "a"), (2, "v", "b"), (3, "w", "e")]
    # One that begins anew, and one that comes back, have the same.
    there.close()
    here.append([[event("u", "f")]])
    assert here.forget("u") == 2
    here.change_items([ItemChange("new", {"year": 2026}), ItemChange("old", None)])
    here.append([[event("u", "g")]])
    for machine in ("two", "three"):
        log = open_log(machine)
        wait_until(lambda log=log: log.last_offset == here.last_offset)  # type: ignore[misc]
        assert all_of(log) == all_of(here)
        assert [item for _, _, item in all_of(log)] == ["b", "e", "g"]
        assert log.forgotten(["u", "v"]) == [True, False]
        assert log.item_changes() == here.item_changes() and len(here.item_changes()) == 2


def test_the_same_id_at_once_on_two_machines_counts_once(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = open_log("one"), open_log("two")
    one.append([[event("u", "a", "x")]])
    # As long as its copy does not know of it.
    monkeypatch.setattr(two, "_digest", lambda id_: _UNKNOWN)
    assert two.append([[event("u", "b", "x", b"other")]]) == [Recorded([], 1)]
    assert two.append([[event("u", "a", "x")]]) == [Recorded([], 1)]
    one.append([[event("u", "c")]])
    wait_until(lambda: one.last_offset == two.last_offset)
    assert [item for _, _, item in all_of(one)] == ["a", "c"] and all_of(one) == all_of(two)
    # Within one call it is known anyway.
    same, other = one.append(
        [[event("u", "d", "y"), event("u", "d", "y")], [event("u", "e", "y", b"other")]]
    )
    assert isinstance(same, Recorded) and (len(same.accepted), same.duplicates) == (1, 1)
    assert isinstance(other, IdConflictError)


RUBBISH = (
    *(b"{", b"", None, b"7", b"[]", b'{"user": 1}', b'{"digest": "zz"}', b'{"digest": null}'),
    b'{"user": 1, "item": ["a"], "kind": "view", "time": 1.0, "value": 1.0, "digest": null}',
)


def test_rubbish_in_the_topic_is_passed_over(
    open_log: Open, server: KafkaServer, topic: str
) -> None:
    log = open_log("one")
    producer = Producer({"bootstrap.servers": server.brokers})
    for value in RUBBISH:
        producer.produce(topic, value, partition=0)
    assert producer.flush(10) == 0
    log.append([[event("u", "a")]])
    assert all_of(log) == [(len(RUBBISH) + 1, "u", "a")]


def test_brokers_that_hang_acknowledge_nothing_and_answers_go_on(
    open_log: Open, server: KafkaServer, few: Path
) -> None:
    log = open_log("one", 1.0)
    engine = Engine(few, log)
    engine.record([[event("u1", "i0", "before")]])
    server.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StateError, match="Kafka"):
            engine.record([[lost := event("u1", "i5", "x")]])
        assert time.monotonic() - began < 5
        (answer,) = engine.answer([Ask(5, "u1")])
        assert isinstance(answer, Found) and answer.items and not answer.degraded
    finally:
        server.signal(signal.SIGCONT)

    def again() -> bool:
        try:
            engine.record([[lost]])
        except StateError:
            return False
        return True

    wait_until(again)
    assert [each.id for each in log.events_of("u1")] == ["before", "x"]


def test_another_topic_is_refused(open_log: Open, server: KafkaServer, tmp_path: Path) -> None:
    log = open_log("one")
    log.append([[event("u", "a")]])
    log.close()
    with pytest.raises(StateError, match="not of t-"):
        KafkaLog(tmp_path / "one", settings_of(server.brokers), f"t-{secrets.token_hex(4)}")
    name = f"wide-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": server.brokers})
    admin.create_topics([NewTopic(name, 3, 1)])[name].result(timeout=10)
    with pytest.raises(ParameterError, match="several partitions"):
        KafkaLog(tmp_path / "new", settings_of(server.brokers), name)


def test_workers_over_kafka_and_another_machine(
    open_log: Open, server: KafkaServer, topic: str, few: Path, tmp_path: Path
) -> None:
    other = open_log("other")
    log = KafkaTopic(settings_of(server.brokers), topic)
    apps = [create_app(few, tmp_path / "shared", open_log=log) for _ in range(2)]
    with TestClient(apps[0]) as one, TestClient(apps[1]) as two:
        for number in range(11):
            taken = {"user": "new", "item": f"i{number}", "id": f"e{number}"}
            taker = (one, two)[number % 2]
            assert taker.post("/events", json=taken).json()["accepted"] == 1
            for client in (one, two):
                answer = client.get("/users/new/recommendations?k=11").json()
                shown = {item["item"] for item in answer["items"]}
                assert shown == {f"i{n}" for n in range(number + 1, 11)}
        wait_until(lambda: other.last_offset == 11)
        assert other.forget("new") == 11
        wait_until(lambda: one.get("/users/new/data").json()["events"] == [])
        for client in (one, two):
            assert len(client.get("/users/new/recommendations?k=11").json()["items"]) == 11
