"""The command `tastemap`: its subcommands, and what becomes of errors."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from tastemap import __version__
from tastemap.cli import (
    batch,
    data,
    ingest,
    keys,
    models,
    quickstart,
    recommend,
    releases,
    rules,
    serve,
    train,
    trainer,
    tune,
)
from tastemap.cli.output import fail, warn
from tastemap.errors import TastemapError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tastemap",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"tastemap {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Begin with `tastemap quickstart`, or with your own log: "
    "`tastemap train --data events.csv --model als --out demo`, then "
    "`tastemap serve --release demo`."
)
def tastemap(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From a log of what people did to live recommendations."""


app.command()(quickstart.quickstart)
app.add_typer(data.app, name="data")
app.command()(models.models)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(tune.tune)
app.command()(recommend.recommend)
app.command()(recommend.similar)
app.command()(batch.batch)
app.command()(serve.serve)
app.command()(trainer.trainer)
app.add_typer(keys.app, name="keys")
app.command()(ingest.ingest)
app.add_typer(releases.app, name="releases")
app.add_typer(rules.app, name="rules")


def main(arguments: list[str] | None = None) -> None:
    """Runs a command; `arguments` are those of the process by default.

    Exits with 0, 1 after an error that is shown as one message, 2 where the arguments are not
    understood, and 130 after Ctrl-C.
    """
    warnings.showwarning = _show_warning
    try:
        app(arguments, prog_name="tastemap")
    except TastemapError as error:
        fail(str(error))
    except OSError as error:
        # A disk that is full, a folder that is not ours: about the machine, not about the program.
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")
    except MemoryError:
        fail("there is not enough memory for this on this machine")
    except SystemExit as stop:
        if stop.code == 130:
            print("\nInterrupted.", file=sys.stderr)
        raise


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    # Those of Tastemap are for the user; those of libraries are for whoever develops with them.
    if category.__module__.partition(".")[0] == "tastemap":
        warn(str(message))
