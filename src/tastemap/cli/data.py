"""`tastemap data`: data sets to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemap.cli.options import Json
from tastemap.cli.output import errors, note, print_json, print_table, results
from tastemap.cli.reading import Opened, reads_data

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, fetch and describe data sets.")


@app.command("list")
def list_data(json: Json = False) -> None:
    """List the data sets that can be fetched by name.

    Example:

    - `tastemap data list`
    """
    from tastemap.data import datasets

    found = datasets.available()
    if json:
        print_json([each.to_dict() for each in found])
        return
    print_table(
        ["name", "title", "events", "users", "items", "on this machine"],
        [
            [
                each.name,
                each.title,
                f"{each.events:,}",
                f"{each.users:,}",
                f"{each.items:,}",
                each.cached or "not yet",
            ]
            for each in found
        ],
        numbers=["events", "users", "items"],
    )
    for terms in dict.fromkeys(each.terms for each in found):
        note(terms)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name of `tastemap data list`.")],
    force: Annotated[bool, typer.Option("--force", help="Fetch it again.")] = False,
    json: Json = False,
) -> None:
    """Fetch a data set into the cache of this machine.

    Example:

    - `tastemap data fetch movielens-100k`
    """
    from tastemap.data import datasets

    place = datasets.fetch(name, force=force)
    if json:
        print_json({"name": name, "path": str(place)})
    else:
        print(place)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="A new directory.", show_default=False)],
    users: Annotated[int, typer.Option(help="How many users.", min=1)] = 1000,
    items: Annotated[int, typer.Option(help="How many items.", min=1)] = 500,
    events: Annotated[int, typer.Option(help="How many events.", min=1)] = 50_000,
    dim: Annotated[int, typer.Option(help="Length of the true vectors.", min=1)] = 16,
    days: Annotated[int, typer.Option(help="How long it all takes.", min=1)] = 90,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DIR.")] = False,
    json: Json = False,
) -> None:
    """Make up a world with known tastes: for load, memory and simulation.

    It has events, tables of items and users, and the true vectors, as Parquet files.

    Example:

    - `tastemap data generate --users 100000 --items 10000 --events 5000000 --out world`
    - `tastemap train --data world/events.parquet --items world/items.parquet --out demo`
    """
    from rich.progress import Progress

    from tastemap.errors import ReleaseError
    from tastemap.simulation.world import World

    # Before it is made; what an overwrite is in a program is an option here.
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise ReleaseError(f"{out} exists already. Choose another --out, or pass --overwrite")
    world = World(users, items, events, dim=dim, days=days, seed=seed)
    with Progress(console=errors(), transient=True, disable=json) as shown:
        task = shown.add_task("Generating", total=events)
        world.write(out, overwrite=overwrite, progress=lambda n: shown.advance(task, n))
    if json:
        print_json({"path": str(out), "users": users, "items": items, "events": events})
    else:
        note(f"{events:,} events of {users:,} users with {items:,} items:")
        print(out)


@app.command()
@reads_data
def describe(
    data: Annotated[
        str, typer.Argument(metavar="FILE_OR_NAME", help="A file, or a name of `data list`.")
    ],
    opened: Opened,
    json: Json = False,
) -> None:
    """Say what is in a data set: how many, from when to when, how long the tail is.

    Examples:

    - `tastemap data describe movielens-100k`
    - `tastemap data describe events.csv --user customer --item sku`
    """
    from tastemap.data.describe import describe as describe_data

    found = describe_data(opened(), title=data)
    if json:
        print_json(found.to_dict())
    else:
        results().print(found)
