"""What a person who waits for a search sees."""

from __future__ import annotations

import sys
from typing import Any, Self

from tastemap.metrics import Metric
from tastemap.tuning.journal import Trial
from tastemap.tuning.study import best_of

__all__ = ["Board"]


class Board:
    """A bar on a terminal, and a line for each trial; nothing where not `shown`.

    Args:
        shown: None for whether there is a terminal.
        metric: what the trials are measured by.
    """

    def __init__(self, shown: bool | None, metric: Metric) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self._shown = sys.stderr.isatty() if shown is None else shown
        self._metric = metric
        console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not self._shown)
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, best="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """So many of something are to be done."""
        self._progress.reset(self._task, total=total, completed=done, description=what)

    def trial(self, trials: list[Trial], number: int) -> None:
        """One more trial has ended, that of the number; `trials` are all so far."""
        trial = next(each for each in trials if each.number == number)
        best = ""
        if any(each.measured for each in trials):
            found = best_of(trials, self._metric.info.better != "lower")
            assert found.measured is not None
            best = f"best {found.measured.validation:.4f} (trial {found.number})"
        settings = "  ".join(f"{name}={value}" for name, value in trial.settings.items())
        self._line(f"trial {number:3}  {_outcome(trial)}  {best}  {settings}")
        self._progress.update(self._task, advance=1, best=best)

    def check(self, what: str, value: float) -> None:
        """Something was measured again."""
        self._line(f"{self._metric} {value:.4f}  {what}")
        self._progress.update(self._task, advance=1)

    def note(self, text: str) -> None:
        """A line of its own."""
        self._line(text)

    def _line(self, text: str) -> None:
        from rich.text import Text

        line: Any = Text(text)
        self._progress.console.print(line)


def _outcome(trial: Trial) -> str:
    if trial.measured is None:
        return f"{trial.state}: {trial.problem}" if trial.problem else f"{trial.state:15}"
    return f"{trial.measured.validation:.4f} {trial.measured.seconds:6.1f} s"
