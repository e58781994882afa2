"""The clients of Kafka, and what they are told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemap.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Producer

__all__ = ["consumer_of", "made_topic", "producer_of", "settings_of"]

log = logging.getLogger("tastemap.online")


def settings_of(brokers: str, file: Path | None = None) -> dict[str, str]:
    """The settings of a client: the brokers, and the lines NAME=VALUE of a file, as librdkafka
    names them (security.protocol, sasl.password, ssl.ca.location …).

    Args:
        brokers: HOST:PORT, several joined by commas.

    Raises:
        ParameterError: there are no brokers, the file cannot be read, or a line is no setting.
    """
    if not brokers.strip():
        raise ParameterError("name the brokers of Kafka as HOST:PORT, several joined by commas")
    settings = {}
    try:
        lines = [] if file is None else file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"the settings of Kafka in {file} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if name.startswith("#") or not name + equals:
            continue
        if not equals:
            raise ParameterError(f"{file}, line {number}: write NAME=VALUE, as librdkafka names it")
        settings[name.strip()] = value.strip()
    return {**settings, "bootstrap.servers": brokers}


def consumer_of(settings: Mapping[str, Any], group: str) -> Consumer:
    """A consumer that begins with the oldest message and commits nothing by itself.

    Raises:
        ParameterError: librdkafka does not take a setting.
        MissingExtraError: it is not installed.
    """
    fixed = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
    }
    consumer: Consumer = _client("Consumer", {"session.timeout.ms": 10_000, **settings, **fixed})
    return consumer


def producer_of(settings: Mapping[str, Any], seconds: float) -> Producer:
    """A producer whose messages are on all replicas in sync, once and in order, when they are
    reported as delivered; or are given up after some seconds.

    Raises:
        ParameterError: librdkafka does not take a setting.
        MissingExtraError: it is not installed.
    """
    fixed = {
        "acks": "all",
        "enable.idempotence": True,
        "delivery.timeout.ms": round(1000 * seconds),
    }
    producer: Producer = _client("Producer", {"linger.ms": 1, **settings, **fixed})
    return producer


def made_topic(settings: Mapping[str, Any], name: str, *, partitions: int, **config: str) -> None:
    """Makes a topic where there is none. Where that fails, as where a client may not, brokers that
    make topics by themselves do it later, and others refuse its messages.

    Raises:
        MissingExtraError: librdkafka is not installed.
    """
    admin = _client("AdminClient", settings)
    try:
        from confluent_kafka import KafkaException
        from confluent_kafka.cimpl import NewTopic

        if name not in admin.list_topics(timeout=10).topics:
            topic = NewTopic(name, num_partitions=partitions, config=config)
            admin.create_topics([topic], request_timeout=10)[name].result(timeout=15)
    except (KafkaException, TimeoutError) as error:
        log.warning("the topic %s could not be made: %r", name, error)


def _client(kind: str, settings: Mapping[str, Any]) -> Any:
    try:
        import confluent_kafka
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
    except ImportError:
        raise MissingExtraError(
            "events in Kafka need its client: pip install 'tastemap[kafka]'"
        ) from None
    clients = {
        "AdminClient": AdminClient,
        "Consumer": confluent_kafka.Consumer,
        "Producer": confluent_kafka.Producer,
    }
    try:
        return clients[kind]({**settings}, logger=logging.getLogger("tastemap.kafka"))
    except (KafkaException, TypeError) as error:
        raise ParameterError(f"a setting of Kafka makes no sense: {error}") from None
