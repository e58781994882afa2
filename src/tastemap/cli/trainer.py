"""`tastemap trainer`: retraining beside a service."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemap.cli.options import Device, Json, ReleaseDir, run_on
from tastemap.cli.output import note, print_json, print_table
from tastemap.cli.serve import state_beside

if TYPE_CHECKING:
    from tastemap.online.retraining import Decision

__all__ = ["trainer"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def trainer(
    release: ReleaseDir,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The service's state folder with its event log; DIR-state beside the release by "
            "default.",
        ),
    ] = None,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="Retrain so often: 90s, 30m, 1h, 7d, or never.")
    ] = "1d",
    after_events: Annotated[
        int | None, typer.Option(min=1, help="Retrain when so many events were recorded.")
    ] = None,
    drift: Annotated[
        float,
        typer.Option(
            min=0,
            help="Retrain when the population stability index of item popularity, kinds of events "
            "or scores is above this; 0.25 is the usual mark of a large change. 0: do not look.",
        ),
    ] = 0.25,
    quality: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Retrain when the hit rate on the newest events is lower by more than this part "
            "of what the release was published with. 0: do not look.",
        ),
    ] = 0.2,
    holdout: Annotated[
        float,
        typer.Option(help="Share of the new events, the newest, that both are judged by."),
    ] = 0.3,
    metric: Annotated[str, typer.Option(help="What decides whether the new one loses.")] = (
        "ndcg@10"
    ),
    margin: Annotated[
        float,
        typer.Option(help="The new one may be so much worse (a share) where it may be chance."),
    ] = 0.01,
    min_value: Annotated[
        float | None,
        typer.Option(help="Leave out events of a lower value, as `tastemap train` did."),
    ] = None,
    poll: Annotated[
        str, typer.Option(metavar="TIME", help="Look at the log and the release so often.")
    ] = "30s",
    once: Annotated[
        bool, typer.Option("--once", help="Retrain now, whatever there is to it, and end.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show what was decided so far, and end.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Retrain while a service serves, and publish what does not lose.

    A process of its own, of low priority: it reads the event log, publishes into the release store,
    and may be killed at any moment. The same models with the same settings learn from the data of
    the serving release and the events recorded since, first without the newest events. By these
    the new one is compared with the serving release as it answers live, person by person. Where it
    does not lose, it learns from everything and is published, and the service takes it up. Every
    decision is a line of trainer.jsonl in the state folder.

    Examples:

    - `tastemap trainer --release demo`
    - `tastemap trainer --release demo --every 1h --after-events 50000`
    - `tastemap trainer --release demo --once`
    - `tastemap trainer --release demo --history`
    """
    from tastemap.online.event_log import EventReader
    from tastemap.online.retraining import Decisions, Judging, Outcome, Trainer, Triggers
    from tastemap.online.tokens import Tokens
    from tastemap.release.lock import exclusive

    folder = state_beside(release) if state is None else state
    decisions = Decisions(folder)
    if history:
        _show(decisions.read(), json)
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    others = [name for name in ("ndcg@10", "recall@20", "hit_rate@10") if name != metric]
    triggers = Triggers(
        every=None if every == "never" else _seconds(every, "--every"),
        after_events=after_events,
        drift=drift or None,
        quality=quality or None,
    )
    judging = Judging(holdout=holdout, metrics=[metric, *others], margin=margin)
    seconds, run = _seconds(poll, "--poll"), run_on(device)
    events = EventReader(folder)
    with exclusive(folder / "TRAINER", wait_seconds=0):
        worker = Trainer(
            release,
            events,
            decisions,
            triggers=triggers,
            judging=judging,
            run=run,
            min_value=min_value,
            tokens=Tokens.of_folder(folder),
        )
        if not once:
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            # Whoever waits for an answer on this machine goes first.
            os.nice(10)
            note(f"Watching {folder} for {release} (Ctrl-C ends it)")
            worker.follow(seconds, stop)
            return
        decision = worker.retrain("asked to")
    if json:
        print_json(_plain(decision))
    else:
        print(f"{decision.outcome}: {decision.reason}")
    if decision.outcome is Outcome.failed:
        raise typer.Exit(1)


def _seconds(text: str, option: str) -> float:
    """The seconds of a text such as "90s", "30m", "1h" or "7d"."""
    try:
        seconds = float(text[:-1]) * _UNITS[text[-1:]]
        if 0 < seconds < float("inf"):
            return seconds
    except (ValueError, KeyError):
        pass
    raise typer.BadParameter(f"write it as 90s, 30m, 1h or 7d, not {text!r}", param_hint=option)


def _plain(decision: Decision) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(decision)


def _show(decisions: list[Decision], json: bool) -> None:
    if json:
        print_json([_plain(each) for each in decisions])
        return
    if not decisions:
        note("Nothing was decided yet.")
        return
    rows = [
        [
            each.time[:19].replace("T", " "),
            each.outcome,
            each.serving,
            each.release,
            f"{each.offset:,}",
            f"{each.seconds:.1f}" if each.seconds else "",
            each.reason,
        ]
        for each in decisions
    ]
    columns = ["time (UTC)", "outcome", "served", "published", "event", "seconds", "why"]
    print_table(columns, rows, numbers=["event", "seconds"])
