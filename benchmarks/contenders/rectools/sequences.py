"""Transformers of `RecTools`."""

import warnings

import numpy as np
import pandas as pd
import rectools
import torch
from pytorch_lightning import seed_everything
from rectools import Columns, models
from rectools.dataset import Dataset

from benchmarks.contenders.protocol import THREADS, Clock, Next, main, ranked


def answer(task: Next, clock: Clock) -> np.ndarray:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(THREADS)
    events = pd.DataFrame(
        {
            Columns.User: task.users,
            Columns.Item: task.items,
            Columns.Weight: 1.0,
            # The order, so that ties in time keep it.
            Columns.Datetime: pd.to_datetime(np.arange(len(task.items)), unit="s"),
        }
    )
    with clock("prepare"):
        train, known = Dataset.construct(events[task.trained]), Dataset.construct(events)
    parameters = dict(task.parameters)
    seed_everything(task.seed)
    model = getattr(models, parameters.pop("model"))(
        **parameters, deterministic=True, recommend_torch_device="cpu"
    )
    with clock("fit"):
        model.fit(train)
    with clock("recommend"):
        found = model.recommend(
            np.arange(task.n_users),
            known,
            k=task.k,
            filter_viewed=True,
            on_unsupported_targets="ignore",
        )
    columns = found[Columns.User], found[Columns.Rank], found[Columns.Item]
    return ranked(*columns, (task.n_users, task.k))


if __name__ == "__main__":
    main(answer, RecTools=rectools.__version__, torch=torch.__version__)
