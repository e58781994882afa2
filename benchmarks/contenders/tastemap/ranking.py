"""Tastemap's own rankers on labelled rows.

With a `grid` among the parameters its settings are tried one after the other, and that with the
least log-loss on the validation rows answers. Columns that it is `without` it does not see, and
`kinds` says what is in some others.
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
    without = parameters.pop("without", [])
    parts = (
        (task.train, task.labels),
        (task.validation, task.validation_labels),
        (task.test, np.zeros(len(task.test["user"]), np.int8)),
    )
    train, validation, test = (frame(*part).drop(without, strict=False) for part in parts)
    said = {**KINDS, **parameters.pop("kinds", {})}
    kinds = {name: kind for name, kind in said.items() if name in train.columns}
    tried: list[tuple[float, Any]] = []
    with clock("fit"):
        for values in product(*grid.values()):
            ranker = make(**parameters, **dict(zip(grid, values, strict=True)), seed=task.seed)
            ranker.fit_frame(train, "liked", validation=validation, kinds=kinds)
            loss = 0.0
            if grid:
                loss = tm.metrics.log_loss(ranker.predict_frame(validation), task.validation_labels)
            tried.append((loss, ranker))
            if hasattr(ranker, "training"):
                clock.trained_rows += len(ranker.training.history) * len(train)
    best = min(tried, key=lambda pair: pair[0])[1]
    with clock("predict"):
        predicted: np.ndarray = best.predict_frame(test)
    return predicted


def frame(columns: dict[str, np.ndarray], labels: np.ndarray) -> pl.DataFrame:
    """The rows as a user would have them."""
    lists = pl.col([name for name in MULTI_VALUED if name in columns])
    several = lists.str.split("|").list.eval(pl.element().filter(pl.element() != ""))
    return pl.DataFrame(columns).with_columns(several, liked=pl.Series(labels))


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
