"""What a search has found, to look at, to keep and to train by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl

from tastemap.metrics import Metric
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.recipe import Recipe
from tastemap.tuning.journal import Trial
from tastemap.tuning.measuring import Measured
from tastemap.tuning.space import Dimension

__all__ = ["DEFAULTS", "MEASURED_ON", "Check", "Study", "best_of", "choose", "settings_of"]

DEFAULTS = "class defaults"
MEASURED_ON = "Measured on the validation part; the test part was not looked at."


@dataclass(frozen=True)
class Check:
    """Settings measured after the search, by fits that do not see the validation part.

    Attributes:
        name: what they are, such as `DEFAULTS`.
        settings: hyper-parameters by name.
        measured: one for each seed.
    """

    name: str
    settings: Mapping[str, Any]
    measured: list[Measured]

    @property
    def value(self) -> float:
        """The mean over the seeds."""
        return fmean(each.validation for each in self.measured)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds; None for a single one."""
        values = [each.validation for each in self.measured]
        return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True, eq=False)
class Study:
    """The result of `tune`. All values were measured on the validation part of the split.

    Attributes:
        model: the class that was tuned.
        metric: what was gone by.
        data: what the data are called.
        split: how they were split, in words.
        fingerprint: of the split.
        space: what was searched over.
        fixed: hyper-parameters that were given.
        trials: all of them, in order of their beginning.
        checks: what was measured again after the search; empty where that was interrupted.
        depth_field: the hyper-parameter that is the length of the model's vectors, or None.
        depths: by that length, with everything else as in the best settings.
        importance: the share of each hyper-parameter in the variance of the metric (fANOVA); empty
            where there are too few trials to say.
        seconds: of this search's last session.
        interrupted: whether it ended by Ctrl-C.
    """

    model: type[Retriever]
    metric: Metric
    data: str
    split: str
    fingerprint: str
    space: Mapping[str, Dimension]
    fixed: Mapping[str, Any]
    trials: list[Trial]
    checks: list[Check]
    depth_field: str | None
    depths: Mapping[int, Measured]
    importance: Mapping[str, float]
    seconds: float
    interrupted: bool

    def __repr__(self) -> str:
        return (
            f"Study({self.model.name}: {self.metric} {self.value:.4f} on validation, "
            f"{len(self.trials)} trials)"
        )

    @property
    def higher_is_better(self) -> bool:
        return self.metric.info.better != "lower"

    @property
    def best_trial(self) -> Trial:
        """The trial with the best value."""
        return best_of(self.trials, self.higher_is_better)

    @property
    def chosen(self) -> Check | None:
        """The best of what was measured again and lies in the space; None where nothing was."""
        return choose(self.checks, self.space, self.higher_is_better)

    @property
    def best(self) -> dict[str, Any]:
        """The best hyper-parameters, all of them by name."""
        if self.chosen is not None:
            return dict(self.chosen.settings)
        trial = self.best_trial
        assert trial.measured is not None
        return settings_of(self.model, self.fixed, trial, trial.measured.epochs)

    @property
    def value(self) -> float:
        """The metric of the best hyper-parameters on the validation part."""
        if self.chosen is not None:
            return self.chosen.value
        measured = self.best_trial.measured
        assert measured is not None
        return measured.validation

    def make(self) -> Retriever:
        """A model with the best hyper-parameters, not fitted."""
        return self.model(**self.best)

    def frame(self) -> pl.DataFrame:
        """A row for each trial, in order: trial, state, value, low, high, epochs, seconds, a column
        for each hyper-parameter of the space, and problem."""
        rows = []
        for trial in self.trials:
            m = trial.measured
            settings = {name: trial.settings.get(name) for name in self.space}
            rows.append(
                {
                    "trial": trial.number,
                    "state": trial.state,
                    "value": m and m.validation,
                    "low": m and m.low,
                    "high": m and m.high,
                    "epochs": m.epochs if m else len(trial.course) or None,
                    "seconds": m and m.seconds,
                    **settings,
                    "problem": trial.problem or None,
                }
            )
        return pl.DataFrame(rows, infer_schema_length=None)

    def recipe(self, path: str | Path | None = None) -> Recipe:
        """The best hyper-parameters as a recipe, also written to a file where a path is given."""
        chosen = self.chosen
        found: dict[str, Any] = {
            "data": self.data,
            "split": f"{self.split} {MEASURED_ON}",
            "fingerprint": self.fingerprint,
            "metric": str(self.metric),
            "value": round(self.value, 5),
            "trials": len(self.trials),
        }
        how = f"{len(self.trials)} trials of tastemap tune, on a validation part"
        if chosen is not None:
            how += f"; measured again with {len(chosen.measured)} seed(s), without early stopping"
            if chosen.deviation is not None:
                found["deviation"] = round(chosen.deviation, 5)
                found["seeds"] = len(chosen.measured)
            for check in self.checks:
                if check.name == DEFAULTS:
                    found["value_of_defaults"] = round(check.value, 5)
        recipe = Recipe(self.model.name, self.best, found, how)
        if path is not None:
            recipe.write(path)
        return recipe

    def report(self, path: str | Path) -> Path:
        """Writes the report, one HTML page that needs nothing else, to a file."""
        from tastemap.tuning.page import page_of

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page_of(self), encoding="utf-8")
        return path

    def to_dict(self) -> dict[str, Any]:
        """What matters of it, as plain numbers and texts."""
        return {
            "model": self.model.name,
            "metric": str(self.metric),
            "value": self.value,
            "part": "validation",
            "best": self.best,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "checks": {
                each.name: {"value": each.value, "deviation": each.deviation}
                for each in self.checks
            },
            "depths": {
                depth: {"train": m.training, "validation": m.validation}
                for depth, m in self.depths.items()
            },
            "importance": dict(self.importance),
            "trials": json.loads(self.frame().write_json()),
            "interrupted": self.interrupted,
        }


def choose(
    checks: list[Check], space: Mapping[str, Dimension], higher_is_better: bool
) -> Check | None:
    """The best of those that lie in the space; None where there is none.

    Defaults beyond a range that was asked for are there to compare with. A default of None lets the
    class choose, and lies in any range.
    """
    sign = 1 if higher_is_better else -1
    within = [
        check
        for check in checks
        if all(check.settings[n] is None or check.settings[n] in space[n] for n in space)
    ]
    return max(within, key=lambda check: sign * check.value, default=None)


def best_of(trials: list[Trial], higher_is_better: bool) -> Trial:
    """The trial with the best value; of equal ones the first."""
    sign = 1 if higher_is_better else -1
    return max(
        (trial for trial in trials if trial.measured is not None),
        key=lambda trial: sign * trial.measured.validation if trial.measured else 0.0,
    )


def settings_of(
    model: type[Retriever], fixed: Mapping[str, Any], trial: Trial, epochs: int | None
) -> dict[str, Any]:
    """All hyper-parameters of a trial, to be trained without early stopping for these epochs."""
    values = model(**{**fixed, **trial.settings}).hyperparameter_values()
    if epochs is not None and "epochs" in values:
        values["epochs"] = epochs
    return values
