"""EASE of `RecTools`."""

import numpy as np
import pandas as pd
import rectools
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main


def answer(task: TopN, clock: Clock) -> np.ndarray:
    users, items = task.train.nonzero()
    events = pd.DataFrame(
        {
            Columns.User: users,
            Columns.Item: items,
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp(0),
        }
    )
    with clock("prepare"):
        dataset = Dataset.construct(events)
    model = EASEModel(**task.parameters, recommend_n_threads=THREADS)
    with clock("fit"):
        model.fit(dataset)
    with clock("recommend"):
        found = model.recommend(
            np.arange(task.train.shape[0]), dataset, k=task.k, filter_viewed=True
        )

    top = np.full((task.train.shape[0], task.k), -1)
    top[found[Columns.User], found[Columns.Rank] - 1] = found[Columns.Item]
    return top


if __name__ == "__main__":
    main(answer, RecTools=rectools.__version__)
