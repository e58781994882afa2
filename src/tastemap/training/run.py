"""Where and how a fit runs, and what is written down about it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tomli_w

from tastemap.data.dataset import Dataset
from tastemap.errors import ParameterError
from tastemap.hyperparameters import Hyperparameters
from tastemap.training.tracking import Tracker, open_tracker

if TYPE_CHECKING:
    import torch

__all__ = ["About", "Recorder", "Run", "describe"]

About = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
"""Nested settings to keep, or what gives them: asked for only where they are kept."""


@dataclass(frozen=True)
class Run:
    """Where and how a fit runs. Nothing of it is part of the model.

    Args:
        folder: a folder for this run, made if need be: `run.toml` (hyper-parameters, fingerprint
            of the data, device, how it ended), `metrics.jsonl` (a line for each epoch) and
            `curves.png`. Files of an earlier run are replaced. None for no folder.
        device: "auto" (a GPU where torch has one, else the CPU, where models with compiled passes
            over single events stay, see `kernel_device`), "cpu", "cuda", "cuda:1", …
        progress: whether to show a progress bar; None to show it on a terminal.
        time_budget: seconds after which training stops at the end of an epoch, or None.
        tracker: "mlflow" to log to MLflow too (the extra `tastemap[mlflow]`), or None.
        on_epoch: called after every epoch with what was measured: its number, the seconds since the
            start, and metrics by name. What it raises ends the fit without a model.

    Raises:
        ParameterError: a value out of its range, or a device that torch does not know.
    """

    folder: str | Path | None = None
    device: str = "auto"
    progress: bool | None = None
    time_budget: float | None = None
    tracker: Literal["mlflow"] | None = None
    on_epoch: Callable[[Mapping[str, float]], object] | None = None

    def __post_init__(self) -> None:
        if self.time_budget is not None and not self.time_budget > 0:
            raise ParameterError(f"Run: time_budget must be > 0 seconds, got {self.time_budget!r}")
        if self.tracker not in (None, "mlflow"):
            raise ParameterError(f"Run: tracker must be 'mlflow' or None, got {self.tracker!r}")
        # Torch is not loaded for what is usual.
        if self.device not in ("auto", "cpu"):
            self._named_device()

    @classmethod
    def of(cls, given: object) -> Run:
        """The run that a fit was given, and where it was given None, one of defaults.

        Raises:
            ParameterError: it is no run.
        """
        if given is None:
            return cls()
        if not isinstance(given, Run):
            raise ParameterError(
                f"fit: run is a tm.Run, as in run=tm.Run(device='cpu'), not a "
                f"{type(given).__name__}"
            )
        return given

    def _named_device(self) -> torch.device:
        import torch

        try:
            return torch.device(self.device)
        except (RuntimeError, TypeError):
            raise ParameterError(
                f"Run: device {self.device!r} is not one of torch's; 'auto', 'cpu' and 'cuda' are "
                "the usual ones"
            ) from None

    def torch_device(self) -> str:
        """The name of the torch device to train on.

        Raises:
            ParameterError: this machine does not have the device.
        """
        if self.device == "cpu":
            return "cpu"
        import torch

        has_gpu = torch.cuda.is_available()
        if self.device == "auto":
            return "cuda" if has_gpu else "cpu"
        device = self._named_device()
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ParameterError(f"Run: this machine has no device {self.device!r}; use 'auto'")
        return str(device)

    def kernel_device(self) -> str:
        """As `torch_device`, for a model that has compiled passes over single events for the CPU.

        "auto" means these. A GPU must take thousands of events in a step to be of use, and what is
        then learned is worse, or takes many more passes: with the defaults on movielens-100k SVD++
        has a validation RMSE of .910 by its compiled passes and of .926 by steps of 4,096 ratings.

        Raises:
            ParameterError: as `torch_device`.
        """
        return "cpu" if self.device == "auto" else self.torch_device()

    def after_another(self, share: float) -> tuple[Run, Callable[[], Run]]:
        """The run of a training that another one begins with, and what gives the other's, to be
        called when the first has ended.

        Folder, tracker and `on_epoch` are the other's. Of a time budget the first has a share,
        between 0 and 1, and the other what is left.
        """
        begun = time.monotonic()
        budget = self.time_budget

        def main() -> Run:
            if budget is None:
                return self
            left = budget - (time.monotonic() - begun)
            return replace(self, time_budget=max(left, 1e-3))

        part = None if budget is None else share * budget
        first = replace(self, folder=None, tracker=None, on_epoch=None, time_budget=part)
        return first, main

    def repeated(self) -> tuple[Run, Run]:
        """The runs of a training and of another one like it on more data, each with half of a time
        budget. Folder, tracker and `on_epoch` are the first's, which is the one that is measured.
        """
        half = None if self.time_budget is None else self.time_budget / 2
        first = replace(self, time_budget=half)
        return first, replace(first, folder=None, tracker=None, on_epoch=None)

    def parted(self, names: Sequence[str]) -> list[Run]:
        """The runs of several trainings that a fit is made of, by their names: each has an equal
        share of a time budget, and within the folder one of its own, with its number before it."""
        budget = None if self.time_budget is None else self.time_budget / len(names)
        return [
            replace(
                self,
                folder=None if self.folder is None else Path(self.folder) / f"{number}-{name}",
                time_budget=budget,
            )
            for number, name in enumerate(names)
        ]

    @contextmanager
    def recorder(self, about: About, epochs: int) -> Iterator[Recorder]:
        """What writes one training down; `about` are the tables to keep in `run.toml`."""
        recorder = Recorder(self, about, epochs)
        try:
            yield recorder
        except BaseException as error:
            recorder.fail(error)
            raise
        finally:
            recorder.close()


def describe(model: Hyperparameters, dataset: Dataset, **resolved: Any) -> dict[str, Any]:
    """What to keep about a training: the model, its hyper-parameters and the data.

    `resolved` replaces hyper-parameters that the model has found itself, where none were given.
    """
    from tastemap import __version__

    return {
        "model": {"class": type(model).__name__, "tastemap": __version__},
        "hyperparameters": {**model.hyperparameter_values(), **resolved},
        "data": {
            "fingerprint": dataset.fingerprint,
            "events": dataset.n_events,
            "users": dataset.n_users,
            "items": dataset.n_items,
        },
    }


class Recorder:
    """Writes one training to the progress bar, the run folder and the tracker."""

    def __init__(self, run: Run, about: About, epochs: int) -> None:
        self._tracker: Tracker | None = None if run.tracker is None else open_tracker(run.tracker)
        self._folder = None if run.folder is None else Path(run.folder)
        self._about: dict[str, Any] = {"run": {"device": run.device, "epochs": epochs}}
        if self._folder is not None or self._tracker is not None:
            # Only then, since the fingerprint of the data costs a pass over them.
            self._about = {**(about() if callable(about) else about), **self._about}
        self._history: list[Mapping[str, float]] = []
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "metrics.jsonl").write_text("")
            (self._folder / "curves.png").unlink(missing_ok=True)
            self._write_about("running")
        if self._tracker is not None:
            self._tracker.start(self._about)
        shown = run.progress if run.progress is not None else sys.stderr.isatty()
        self._bar = _Bar(epochs) if shown else None
        self._on_epoch = run.on_epoch

    def epoch(self, measured: Mapping[str, float]) -> None:
        """Notes what was measured: epoch, seconds, and metrics by name."""
        self._history.append(measured)
        if self._folder is not None:
            with (self._folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(measured) + "\n")
        if self._tracker is not None:
            self._tracker.log(measured)
        if self._bar is not None:
            self._bar.show(measured)
        if self._on_epoch is not None:
            self._on_epoch(measured)

    def finish(self, stopped: str, best_epoch: int) -> None:
        """Notes how it ended: why, and which epoch was kept."""
        if self._bar is not None:
            self._bar.end(f"{stopped}, epoch {best_epoch} kept")
        self._about["run"]["best_epoch"] = best_epoch
        if self._folder is not None:
            self._write_about(stopped)
            if self._history:
                _plot(self._history, self._folder / "curves.png", best_epoch)
        if self._tracker is not None:
            self._tracker.end(stopped, self._folder)
            self._tracker = None

    def fail(self, error: BaseException) -> None:
        """Notes that it ended without a model."""
        if self._folder is not None:
            self._write_about(f"failed: {type(error).__name__}")
        if self._tracker is not None:
            self._tracker.end("failed", self._folder)
            self._tracker = None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _write_about(self, status: str) -> None:
        assert self._folder is not None
        self._about["run"]["status"] = status
        text = tomli_w.dumps(_without_none(self._about))
        (self._folder / "run.toml").write_text(text, encoding="utf-8")


class _Bar:
    def __init__(self, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=epochs, metrics="")
        self._progress.start()

    def show(self, measured: Mapping[str, float]) -> None:
        shown = (f"{k} {v:.4f}" for k, v in measured.items() if k not in ("epoch", "seconds"))
        self._progress.update(self._task, completed=measured["epoch"], metrics="  ".join(shown))

    def end(self, message: str) -> None:
        last = self._progress.tasks[0].fields["metrics"]
        self._progress.update(self._task, metrics=f"{last}  ({message})")

    def close(self) -> None:
        self._progress.stop()


def _without_none(value: Any) -> Any:
    # TOML has no null; "none" is what the command line takes for it too.
    if isinstance(value, Mapping):
        return {str(key): _without_none(inner) for key, inner in value.items()}
    return "none" if value is None else value


def _plot(history: list[Mapping[str, float]], path: Path, best_epoch: int) -> None:
    from matplotlib.figure import Figure

    names = [name for name in history[0] if name not in ("epoch", "seconds")]
    # A Figure of its own, not pyplot: no display is needed, and no global state is touched.
    figure = Figure(figsize=(5 * max(len(names), 1), 3.5), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), place)
        axes.plot([m["epoch"] for m in history], [m[name] for m in history], marker=".")
        axes.axvline(best_epoch, color="gray", linestyle=":")
        axes.set(xlabel="epoch", ylabel=name)
    figure.savefig(path)
