"""What one trial does: fit a model with some settings and measure it on the validation part."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout
from tastemap.evaluation import evaluate
from tastemap.metrics import Metric
from tastemap.retrieval.base import Retriever
from tastemap.training.run import Run

__all__ = ["Bench", "Measured", "OnEpoch", "Task"]

OnEpoch = Callable[[Mapping[str, float]], object]

# Training events are judged for so many users: the curve needs no more.
_TRAIN_USERS = 2000


@dataclass(frozen=True)
class Task:
    """What to measure.

    Attributes:
        settings: hyper-parameters by name.
        stop_early: whether the fit sees the validation part and keeps its best epoch; else it
            trains for the epochs that the settings say.
        on_train: whether to measure the training part too.
        name: of the run's folder, below that of the bench's run.
        time_budget: seconds for the fit, or None.
    """

    settings: Mapping[str, Any]
    stop_early: bool = False
    on_train: bool = False
    name: str = ""
    time_budget: float | None = None


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        validation: the metric on the validation part.
        low, high: its 95% bootstrap interval over users; None where the metric has none.
        training: the metric on the training events, or None where it was not asked for.
        epochs: the epoch that was kept, from 1; None for models that do not train in epochs.
        seconds: of the fit.
    """

    validation: float
    low: float | None
    high: float | None
    training: float | None
    epochs: int | None
    seconds: float


@dataclass(frozen=True, eq=False)
class Bench:
    """A model's class, the data to learn from and to measure on. There is no test part here."""

    model: type[Retriever]
    train: Dataset
    validation: Holdout
    metric: Metric
    run: Run

    def measure(self, task: Task, on_epoch: OnEpoch | None = None) -> Measured:
        """Fits and measures; what `on_epoch` raises ends it.

        Raises:
            ParameterError: wrong settings, or a training that diverges.
        """
        model = self.model(**task.settings)
        started = time.perf_counter()
        model.fit(
            self.train,
            validation=self.validation if task.stop_early else None,
            run=self._run(task, on_epoch),
        )
        seconds = time.perf_counter() - started
        name = str(self.metric)
        found = evaluate(model, self.validation, self.metric, resamples=200)
        low, high = found.intervals[name] or (None, None)
        training = None
        if task.on_train:
            # What was learned is asked for again, so what was seen must not be left out.
            judged = evaluate(
                model, self._training_part(), self.metric, exclude_seen=False, resamples=1
            )
            training = judged[name]
        epochs = getattr(getattr(model, "training", None), "best_epoch", None)
        return Measured(found[name], low, high, training, epochs, seconds)

    def _run(self, task: Task, on_epoch: OnEpoch | None) -> Run:
        budgets = [b for b in (self.run.time_budget, task.time_budget) if b is not None]
        # A fit always gets to its first epoch.
        budget = max(min(budgets), 1e-3) if budgets else None
        folder = None if self.run.folder is None else f"{self.run.folder}/{task.name}"
        return replace(
            self.run, folder=folder, progress=False, time_budget=budget, on_epoch=on_epoch
        )

    def _training_part(self) -> Holdout:
        """The training events as what is to be found, of some users where there are many."""
        users = np.flatnonzero(self.train.histories.counts > 0)
        if len(users) > _TRAIN_USERS:
            users = np.sort(np.random.default_rng(0).choice(users, _TRAIN_USERS, replace=False))
        queries = self.train.queries(users)
        return Holdout(queries, queries.histories)
