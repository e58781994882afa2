"""Tastemap's own models on ratings."""

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks.contenders.protocol import Clock, Rate, main
from benchmarks.contenders.tastemap.making import asked_for


def answer(task: Rate, clock: Clock) -> np.ndarray:
    events = pl.DataFrame({"user": task.users, "item": task.items, "rating": task.values})
    timed = {}
    if task.times is not None:
        events, timed = events.with_columns(time=task.times), {"time": "time"}
    with clock("prepare"):
        data = tm.Dataset.from_frame(events, user="user", item="item", value="rating", **timed)
    model = asked_for(task)
    with clock("fit"):
        model.fit(data)
    with clock("predict"):
        predicted = model.predict(
            users=task.test_users, items=task.test_items, times=task.test_times
        )
    return np.asarray(predicted)


if __name__ == "__main__":
    main(answer, tastemap=tm.__version__)
