"""`tastemap ingest`: events of other systems, from Kafka into the event log."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from tastemap.cli.output import note

__all__ = ["ingest"]


def ingest(
    kafka: Annotated[
        str, typer.Option(metavar="BROKERS", help="HOST:PORT, several joined by commas.")
    ],
    topic: Annotated[str, typer.Option(help="What is read.")],
    state: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder of the event log that is written.")
    ],
    group: Annotated[
        str, typer.Option(help="Processes of one group share the partitions of the topic.")
    ] = "tastemap",
    dead: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="Where refused messages go, with the reason; TOPIC.dead by default.",
        ),
    ] = None,
    release: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Refuse items that this release does not hold, and take from it what an event "
            "does not say. Without it any item is taken, as a view of value 1.",
        ),
    ] = None,
    kafka_settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Lines NAME=VALUE for the client, such as security.protocol=SASL_SSL.",
        ),
    ] = None,
) -> None:
    """Record the events of a Kafka topic, as long as it runs.

    A message is JSON as POST /events takes it, one event or a list. Offsets are committed when the
    events are on the disk, and an event that is read again is known: none is lost, none is doubled.
    A server with the same state folder takes the events up at once.

    Examples:

    - `tastemap ingest --kafka broker:9092 --topic clicks --state demo-state --release demo`
    """
    from tastemap.online.event_log import EventLog
    from tastemap.online.ingest import Ingest, Taken, Terms
    from tastemap.online.kafka import settings_of

    settings = settings_of(kafka, kafka_settings)
    terms = None if release is None else Terms(release)
    # Whoever ends it by a signal lets it leave the group, so that others need not wait.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log, total = EventLog(state), Taken()
    ingest = Ingest(settings, topic, log, group=group, dead=dead, terms=terms)
    note(f"Reading {topic} from {kafka} into {state} (Ctrl-C ends it)")
    try:
        while True:
            total += ingest.step()
    except KeyboardInterrupt:
        note(
            f"Recorded {total.recorded} events, knew {total.duplicates}, and refused "
            f"{total.refused} messages"
        )
    finally:
        ingest.close()
        log.close()
