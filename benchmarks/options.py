"""Options that the commands of several benchmarks have."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import data

DatasetName = Annotated[str, typer.Option(help=f"One of {', '.join(data.NAMES)}.")]
Seeds = Annotated[int, typer.Option(help="How many seeds, counted from 0.")]
Out = Annotated[Path, typer.Option(help="The folder that the result is written to.")]
