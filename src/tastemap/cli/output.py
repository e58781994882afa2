"""What a command says: results on stdout, all else on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["errors", "fail", "note", "print_json", "print_table", "results", "step", "warn"]


def errors() -> Console:
    """Where progress and messages go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def results() -> Console:
    """Where results for people go."""
    from rich.console import Console

    # What goes to a file or a pipe is not squeezed into rich's 80 columns.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def note(text: str) -> None:
    """A line for the person who waits."""
    errors().print(text, markup=False)


def warn(text: str) -> None:
    _labelled("warning", "yellow", text)


def fail(text: str) -> NoReturn:
    """Shows what went wrong and ends with code 1."""
    _labelled("error", "red", text)
    sys.exit(1)


def _labelled(label: str, color: str, text: str) -> None:
    from rich.text import Text

    errors().print(Text.assemble((f"{label}: ", f"bold {color}"), text))


def print_json(value: Any) -> None:
    """One JSON document on stdout; what is not a number is null."""
    import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=str, option=option).decode() + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Iterable[str] = ()
) -> None:
    """A table for people; the columns of `numbers` stand at the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    right = set(numbers)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        # Folded, since an id that is cut off is of no use.
        table.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        # As Text, since ids and titles are not markup.
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    results().print(table)
    sys.stdout.flush()


@contextmanager
def step(what: str, *, bar: bool = True) -> Iterator[None]:
    """Shows that something is being done, and at its end how long it took.

    Args:
        what: is being done.
        bar: False where the work shows a bar of its own.
    """
    started = time.perf_counter()
    console = errors()
    if not console.is_terminal:
        yield
    elif not bar:
        note(f"  {what} …")
        yield
    else:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(24))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            progress.add_task(what, total=None)
            yield
    note(f"✓ {what} ({time.perf_counter() - started:.1f} s)")
