"""Tastemap's own models on what comes next."""

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import Clock, Next, main, ranked
from benchmarks.contenders.tastemap.making import asked_for


def answer(task: Next, clock: Clock) -> np.ndarray:
    events = pl.DataFrame({"user": task.users, "item": task.items, "time": task.times})
    with clock("prepare"):
        known = tm.Dataset.from_frame(events, user="user", item="item", time="time")
        # The events stand in the order of the data set's histories already.
        train = known.with_events(task.trained)
    model = asked_for(task)
    with clock("fit"):
        model.fit(train)
    users = known.users.rows(np.arange(task.n_users))
    with clock("recommend"):
        found = model.recommend(queries=known.queries(users), k=task.k)
    return ranked(found["user"], found["rank"], found["item"], (task.n_users, task.k))


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
