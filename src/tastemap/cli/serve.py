"""`tastemap serve`: a release answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tastemap.cli.options import ReleaseDir
from tastemap.cli.output import note

__all__ = ["serve", "state_beside"]

LogFormat = Literal["text", "json"]


def serve(
    release: ReleaseDir,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where events are recorded; DIR-state beside the release by default.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines too.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, help="Processes that answer; one that dies is replaced."),
    ] = 1,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may ask (see tastemap keys new). Or the text of such a file in the variable "
            "TASTEMAP_KEYS.",
        ),
    ] = None,
    no_keys: Annotated[
        bool,
        typer.Option("--no-keys", help="Let anybody ask, from other machines too."),
    ] = False,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Requests a second of one caller to one worker, 0 for any number. By default "
            "1000, and any number at 127.0.0.1.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(help="json: an object a line, and a line a request."),
    ] = "text",
    otel: Annotated[
        bool,
        typer.Option(
            "--otel",
            help="Send traces by OTLP; also where OTEL_EXPORTER_OTLP_ENDPOINT is set.",
        ),
    ] = False,
    newcomers: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            metavar="SHARE",
            help="The share of places in answers that new items get (POST /items); 0 for none.",
        ),
    ] = 0.1,
    half_life: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=10_000,
            metavar="DAYS",
            help="After so many days an event counts half for what is popular now.",
        ),
    ] = 3.0,
    item_drift: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="How far the vectors of items (als, ialspp) may follow those who take them, as a "
            "share of their length; 0 for not at all.",
        ),
    ] = 0.2,
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Remember answers in a Redis that all servers share, such as "
            "redis://127.0.0.1:6379/0; the password in TASTEMAP_REDIS_PASSWORD.",
        ),
    ] = None,
    cache_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="How long an answer is given again while the user does nothing; 0 for never.",
        ),
    ] = 60.0,
    state_bytes: Annotated[
        int,
        typer.Option(min=1, help="Memory of each worker for answers, where there is no Redis."),
    ] = 256 << 20,
    precomputed: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Answers made in advance (tastemap batch), for users who have done nothing since "
            "and for where a model fails: a .parquet file, or a Redis as redis://127.0.0.1:6379/0.",
        ),
    ] = None,
    kafka: Annotated[
        str | None,
        typer.Option(
            metavar="BROKERS",
            help="Record events in a topic of Kafka, which machines share; the state folder is "
            "this machine's copy.",
        ),
    ] = None,
    kafka_topic: Annotated[
        str, typer.Option(metavar="TOPIC", help="It has one partition, and is made where missing.")
    ] = "tastemap-events",
    kafka_settings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines NAME=VALUE for Kafka's client."),
    ] = None,
) -> None:
    """Serve a release over HTTP, with a page to try it on.

    Events that are sent to it are recorded in the state folder, and the next answers look at them.
    A newer release that is published into the same directory is taken up without a restart.
    Workers share the state folder: whichever takes an event, the next answer of all reflects it.
    Where other machines can reach it, it asks for keys.

    Examples:

    - `tastemap serve --release demo`
    - `tastemap serve --release demo --workers 4`
    - `tastemap serve --release demo --workers 4 --redis redis://127.0.0.1:6379/0`
    - `tastemap serve --release demo --precomputed tonight.parquet`
    - `tastemap serve --release demo --state /var/lib/tastemap --host 0.0.0.0 --keys keys.toml`
    """
    from tastemap.console import PAGE
    from tastemap.online import CacheOptions, Operating
    from tastemap.online import serve as serve_release
    from tastemap.online.event_log import EventLog
    from tastemap.online.following import Following
    from tastemap.online.kafka import settings_of
    from tastemap.online.kafka_log import KafkaTopic

    operating = Operating.of(
        keys, anybody=no_keys, rate=rate_limit, log_format=log_format, traces=otel
    )
    folder = state_beside(release) if state is None else state
    note(f"Events are recorded in {folder}")
    cache = CacheOptions(redis, cache_seconds, state_bytes) if cache_seconds > 0 else None
    topic = None if kafka is None else KafkaTopic(settings_of(kafka, kafka_settings), kafka_topic)
    serve_release(
        release,
        folder,
        host=host,
        port=port,
        page=PAGE,
        workers=workers,
        operating=operating,
        following=Following(newcomers, half_life * 86_400, item_drift),
        cache=cache,
        precomputed=precomputed,
        open_log=topic or EventLog,
    )


def state_beside(release: Path) -> Path:
    """The default state folder of a release: demo-state for demo."""
    place = release.resolve()
    return place.with_name(f"{place.name}-state")
