"""`tastemap serve`: a release answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemap.cli.options import ReleaseDir
from tastemap.cli.output import note

__all__ = ["serve", "state_beside"]


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
) -> None:
    """Serve a release over HTTP, with a page to try it on.

    Events that are sent to it are recorded in the state folder, and the next answers look at them.
    A newer release that is published into the same directory is taken up without a restart.
    Workers share the state folder: whichever takes an event, the next answer of all reflects it.

    Examples:

    - `tastemap serve --release demo`
    - `tastemap serve --release demo --workers 4`
    - `tastemap serve --release demo --state /var/lib/tastemap --port 80 --host 0.0.0.0`
    """
    from tastemap.console import PAGE
    from tastemap.online import serve as serve_release

    folder = state_beside(release) if state is None else state
    note(f"Events are recorded in {folder}")
    serve_release(release, folder, host=host, port=port, page=PAGE, workers=workers)


def state_beside(release: Path) -> Path:
    """The default state folder of a release: demo-state for demo."""
    place = release.resolve()
    return place.with_name(f"{place.name}-state")
