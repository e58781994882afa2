"""Tastemap's own rankers on labelled rows.

With a `grid` among the parameters its settings are tried one after the other, and that with the
least log-loss on the validation rows answers; with `refit` it has then learned from these rows too.
Columns that it is `without` it does not see, and `kinds` says what is in some others.
"""

from itertools import product
from typing import Any

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import MULTI_VALUED, Click, Clock, main

KINDS = {"hour": "categorical", "weekday": "categorical"}


def answer(task: Click, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    make, grid = getattr(tm, parameters.pop("model")), parameters.pop("grid", {})
    refit = parameters.pop("refit", False)
    without = parameters.pop("without", [])
    parts = (
        (task.train, task.labels),
        (task.validation, task.validation_labels),
        (task.test, np.zeros(len(task.test["user"]), np.int8)),
    )
    train, validation, test = (frame(*part).drop(without, strict=False) for part in parts)
    said = {**KINDS, **parameters.pop("kinds", {})}
    kinds = {name: kind for name, kind in said.items() if name in train.columns}

    def fitted(settings: dict[str, Any], again: bool) -> Any:
        ranker = make(**parameters, **settings, refit=again, seed=task.seed)
        ranker.fit_frame(train, "liked", validation=validation, kinds=kinds)
        if hasattr(ranker, "training"):
            clock.trained_rows += len(ranker.training.history) * len(train)
            if again:
                clock.trained_rows += ranker.training.best_epoch * (len(train) + len(validation))
        return ranker

    def loss(ranker: Any) -> float:
        return float(tm.metrics.log_loss(ranker.predict_frame(validation), task.validation_labels))

    chosen: dict[str, Any] = {}
    with clock("fit"):
        if grid:
            settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
            # Chosen while they know nothing of the validation rows.
            tried = [(fitted(each, False), each) for each in settings]
            ranker, chosen = min(tried, key=lambda pair: loss(pair[0]))
        if refit or not grid:
            ranker = fitted(chosen, refit)
    with clock("predict"):
        predicted: np.ndarray = ranker.predict_frame(test)
    return predicted


def frame(columns: dict[str, np.ndarray], labels: np.ndarray) -> pl.DataFrame:
    """The rows as a user would have them."""
    lists = pl.col([name for name in MULTI_VALUED if name in columns])
    several = lists.str.split("|").list.eval(pl.element().filter(pl.element() != ""))
    return pl.DataFrame(columns).with_columns(several, liked=pl.Series(labels))


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
