"""Tastemap's own models on lists."""

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import Clock, TopN, main, ranked
from benchmarks.contenders.tastemap.making import asked_for


def answer(task: TopN, clock: Clock) -> np.ndarray:
    n_users = task.train.shape[0]
    users, items = task.train.nonzero()
    events = pl.DataFrame({"user": users, "item": items})
    with clock("prepare"):
        data = tm.Dataset.from_frame(events, user="user", item="item")
    model = asked_for(task)
    with clock("fit"):
        model.fit(data)
    with clock("recommend"):
        found = model.recommend(users=np.arange(n_users), k=task.k)
    return ranked(found["user"], found["rank"], found["item"], (n_users, task.k))


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
