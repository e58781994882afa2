"""Tastemap's own rankers on labelled rows.

With a `grid` among the parameters its settings are tried one after the other, and that with the
least log-loss on the validation rows answers.
"""

from itertools import product
from typing import Any

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import Click, Clock, main

KINDS = {"hour": "categorical", "weekday": "categorical"}


def answer(task: Click, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    make, grid = getattr(tm, parameters.pop("model")), parameters.pop("grid", {})
    train, validation = (
        frame(task.train, task.labels),
        frame(task.validation, task.validation_labels),
    )
    test = frame(task.test, np.zeros(len(task.test["user"]), np.int8))
    tried: list[tuple[float, Any]] = []
    with clock("fit"):
        for values in product(*grid.values()):
            ranker = make(**parameters, **dict(zip(grid, values, strict=True)), seed=task.seed)
            ranker.fit_frame(train, "liked", validation=validation, kinds=KINDS)
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
    genres = pl.Series(columns["genres"]).str.split("|")
    return pl.DataFrame(columns).with_columns(genres=genres, liked=pl.Series(labels))


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
