"""Tastemap's own models on lists; `model` among the parameters is the class's name."""

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import Clock, TopN, main


def answer(task: TopN, clock: Clock) -> np.ndarray:
    parameters = dict(task.parameters)
    make = getattr(tm, parameters.pop("model"))
    users, items = task.train.nonzero()
    events = pl.DataFrame({"user": users, "item": items})
    with clock("prepare"):
        data = tm.Dataset.from_frame(events, user="user", item="item")
    if "seed" in make.hyperparameters():
        parameters["seed"] = task.seed
    model = make(**parameters)
    with clock("fit"):
        model.fit(data)
    with clock("recommend"):
        found = model.recommend(users=np.arange(task.train.shape[0]), k=task.k)

    top = np.full((task.train.shape[0], task.k), -1)
    top[found["user"], found["rank"] - 1] = found["item"]
    return top


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
