"""`tastemap keys`: who may ask a service that other machines can reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemap.cli.output import note

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make keys for a service that asks for them.")


@app.callback()
def keys() -> None:
    """Make keys for a service that asks for them."""


@app.command()
def new(
    name: Annotated[str, typer.Option(help="Whose key it is; it stands in logs.")],
    role: Annotated[
        list[str],
        typer.Option(
            help="read: recommendations and metrics; write: posting events; admin: all, personal "
            "data too. May be given twice."
        ),
    ],
    file: Annotated[
        Path, typer.Option(metavar="FILE", help="Where its hash goes; made where it is missing.")
    ] = Path("keys.toml"),
) -> None:
    """Make a key, print it this once, and add its hash to a file.

    To take a key back, delete its lines in the file; a running service looks each second.

    Examples:

    - `tastemap keys new --role read --name shop`
    - `tastemap keys new --role read --role write --name shop --file /etc/tastemap/keys.toml`
    """
    from tastemap.online.access import add_key

    secret = add_key(file, name, role)
    note(f"Its hash is in {file}; the key itself is shown only now:")
    print(secret)
