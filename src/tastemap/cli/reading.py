"""Options that say which data a command reads, and the reading."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from tastemap.cli.options import pairs
from tastemap.cli.output import note, step

if TYPE_CHECKING:
    from tastemap.data.dataset import Dataset

__all__ = ["Opened", "reads_data"]

_PANEL = "Columns and tables of the data"


class BadRows(StrEnum):
    """What becomes of rows that cannot be used."""

    refuse = "raise"
    reject = "reject"


def _column(option: str, meaning: str) -> Any:
    return typer.Option(option, metavar="COLUMN", rich_help_panel=_PANEL, help=meaning)


def _file(option: str, meaning: str) -> Any:
    return typer.Option(option, metavar="FILE", rich_help_panel=_PANEL, help=meaning)


def _open(
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE_OR_NAME",
            help="A log as CSV, TSV, JSON lines or Parquet, or a name of `tastemap data list`.",
        ),
    ],
    user: Annotated[
        str | None,
        _column("--user", "User ids. Usual names (user, user_id, userId, …) are recognised."),
    ] = None,
    item: Annotated[str | None, _column("--item", "Item ids.")] = None,
    time: Annotated[str | None, _column("--time", "Times, Unix seconds or ISO 8601.")] = None,
    value: Annotated[str | None, _column("--value", "Ratings or amounts.")] = None,
    kind: Annotated[
        str | None,
        _column(
            "--kind",
            "Kinds of event, such as view or purchase. What is called impression or skip was shown "
            "and not chosen: a ranker learns from it, and nobody's history has it.",
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        _column("--context", "Circumstances to keep, such as hour or device; repeat for each."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=NUMBER",
            rich_help_panel=_PANEL,
            help="What an event of a kind counts, such as purchase=5; repeat for each kind.",
        ),
    ] = None,
    min_value: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Leave out events of a lower value: with 4, of 1 to 5 stars only what was liked.",
        ),
    ] = None,
    min_user_events: Annotated[
        int,
        typer.Option(
            min=0, rich_help_panel=_PANEL, help="Leave out users with fewer events than this."
        ),
    ] = 0,
    items: Annotated[
        Path | None,
        _file("--items", "A table of items: a column of their ids, and title, genres, year, …"),
    ] = None,
    users: Annotated[
        Path | None,
        _file("--users", "A table of users: a column of their ids, and age, country, …"),
    ] = None,
    on_bad_rows: Annotated[
        BadRows,
        typer.Option(
            rich_help_panel=_PANEL,
            help="Stop at the first row that cannot be used, or write such rows to a file.",
        ),
    ] = BadRows.refuse,
    rejects: Annotated[
        Path | None, _file("--rejects", "Where rejected rows go; beside the data by default.")
    ] = None,
) -> tuple[Dataset, Dataset | None]:
    """Reads the data set of these options: what people did, and what they were merely shown.

    Raises:
        DataError: it cannot be read, or nothing is left of it.
        ParameterError: columns or tables are named for a data set that has its own.
    """
    from tastemap.data import datasets
    from tastemap.data.impressions import taken_and_shown
    from tastemap.errors import ParameterError

    mapping: dict[str, Any] = {
        "user": user,
        "item": item,
        "time": time,
        "value": value,
        "kind": kind,
        "context": context,
        "weights": {name: _number(name, text) for name, text in pairs(weight, "--weight").items()},
        "items": items,
        "users": users,
        "on_bad_rows": "reject" if on_bad_rows is BadRows.reject else None,
        "rejects": rejects,
    }
    given = {name: chosen for name, chosen in mapping.items() if chosen}
    if not Path(data).exists() and data in (info.name for info in datasets.available()):
        if given:
            raise ParameterError(
                f"{data}: its columns and tables are known, so leave out what says them "
                f"({', '.join(given)})"
            )
        dataset = datasets.load(data)
    else:
        with step(f"Reading {data}"):
            dataset = datasets.open_data(data, **given)
    dataset, shown = taken_and_shown(dataset)
    if min_value is not None or min_user_events:
        dataset = dataset.filter(min_value=min_value, min_user_events=min_user_events)
    return dataset, shown


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{name}={text} is not a number", param_hint="--weight") from None


@dataclass(frozen=True)
class Opened:
    """What a command that `reads_data` gets: it reads the data set when it is called."""

    options: Mapping[str, Any]

    def __call__(self) -> Dataset:
        return self.with_shown()[0]

    def with_shown(self) -> tuple[Dataset, Dataset | None]:
        """The data set, and what the log says of impressions and skips, where it does."""
        dataset, shown = _open(**self.options)
        if shown is not None:
            note(f"{shown.n_events:,} impressions and skips are no events that somebody chose")
        return dataset, shown

    def __str__(self) -> str:
        """What data they are, for people: "movielens-1m, values >= 4"."""
        said = [str(self.options["data"])]
        if self.options["min_value"] is not None:
            said.append(f"values >= {self.options['min_value']:g}")
        if self.options["min_user_events"]:
            said.append(f"users with >= {self.options['min_user_events']} events")
        return ", ".join(said)


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `_open`, and as its argument `opened` the reading itself.

    Options that the command has of the same name go before.
    """
    reading = inspect.signature(_open).parameters
    own = {n: p for n, p in inspect.signature(command).parameters.items() if n != "opened"}

    @wraps(command)
    def with_data(**given: Any) -> None:
        opened = Opened({name: given[name] for name in reading})
        command(**{name: given[name] for name in own}, opened=opened)

    hints = {
        **get_type_hints(_open, localns={"Dataset": Any}, include_extras=True),
        **get_type_hints(command, include_extras=True),
    }
    parameters = {**own, **{name: p for name, p in reading.items() if name not in own}}
    # Those that must be given come first, as Python wants it, and the data before all.
    ordered = sorted(
        parameters.values(),
        key=lambda p: (p.default is not inspect.Parameter.empty, p.name != "data"),
    )
    with_data.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(annotation=hints[p.name]) for p in ordered]
    )
    with_data.__annotations__ = {p.name: hints[p.name] for p in ordered}
    return with_data
