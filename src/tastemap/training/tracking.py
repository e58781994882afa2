"""Experiment trackers, used only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tastemap.errors import MissingExtraError, ParameterError

__all__ = ["Tracker", "open_tracker"]


class Tracker(Protocol):
    """Somewhere that keeps the settings and metrics of trainings."""

    def start(self, about: Mapping[str, Any]) -> None:
        """A training begins; `about` holds its settings as nested tables."""

    def log(self, measured: Mapping[str, float]) -> None:
        """An epoch has ended: its number "epoch" and its metrics."""

    def end(self, stopped: str, folder: Path | None) -> None:
        """The training has ended: why, and the folder to attach, if there is one."""


def open_tracker(name: str) -> Tracker:
    """The tracker of that name.

    Raises:
        MissingExtraError: what it needs is not installed.
        ParameterError: there is none of that name.
    """
    if name != "mlflow":
        raise ParameterError(f"no tracker {name!r} (there are: mlflow)")
    return _MLflow()


class _MLflow:
    """Logs to wherever MLflow is set up to (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME).

    A run that the caller has opened is used and left open.
    """

    def __init__(self) -> None:
        try:
            import mlflow
        except ImportError:
            raise MissingExtraError(
                "tracker 'mlflow' is not installed: pip install 'tastemap[mlflow]'"
            ) from None
        self._mlflow = mlflow
        self._owned = False

    def start(self, about: Mapping[str, Any]) -> None:
        self._owned = self._mlflow.active_run() is None
        if self._owned:
            self._mlflow.start_run()
        self._mlflow.log_params(_flat(about))

    def log(self, measured: Mapping[str, float]) -> None:
        metrics = {name: value for name, value in measured.items() if name != "epoch"}
        self._mlflow.log_metrics(metrics, step=int(measured["epoch"]))

    def end(self, stopped: str, folder: Path | None) -> None:
        self._mlflow.set_tag("stopped", stopped)
        if folder is not None:
            self._mlflow.log_artifacts(str(folder))
        if self._owned:
            self._mlflow.end_run("FAILED" if stopped == "failed" else "FINISHED")


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
