"""EASE of `RecTools`."""

import numpy as np
import pandas as pd
import rectools
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main, ranked


def answer(task: TopN, clock: Clock) -> np.ndarray:
    n_users = task.train.shape[0]
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
        found = model.recommend(np.arange(n_users), dataset, k=task.k, filter_viewed=True)
    columns = found[Columns.User], found[Columns.Rank], found[Columns.Item]
    return ranked(*columns, (n_users, task.k))


if __name__ == "__main__":
    main(answer, RecTools=rectools.__version__)
