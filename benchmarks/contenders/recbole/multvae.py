"""MultiVAE of `recbole` (dense torch on a matrix of users × items)."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import UserDataLoader
from recbole.data.dataset import Dataset
from recbole.model.general_recommender import MultiVAE
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.contenders.protocol import THREADS, Clock, TopN, main

BLOCK = 1000


def answer(task: TopN, clock: Clock) -> np.ndarray:
    logging.disable()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name, clock("prepare"):
        config, data = _data(task, Path(name))
        loader = UserDataLoader(config, data, None, shuffle=True)
    init_seed(task.seed, reproducibility=True)
    model = MultiVAE(config, data)
    with clock("fit"):
        Trainer(config, model).fit(loader, saved=False)
    with clock("recommend"):
        return _lists(model, data, task)


def _data(task: TopN, folder: Path) -> tuple[Config, Dataset]:
    """All of the task's events as a training set: every epoch runs, none is held out to stop by."""
    (folder / "task").mkdir()
    users, items = task.train.nonzero()
    with (folder / "task" / "task.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\n")
        file.writelines(f"{u}\t{i}\n" for u, i in zip(users.tolist(), items.tolist(), strict=True))
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "group_by": "user", "order": "RO"},
        # The networks of autoencoders are fed with rows, not with drawn pairs.
        "train_neg_sample_args": None,
        "use_gpu": False,
        "show_progress": False,
        "seed": task.seed,
        **task.parameters,
    }
    config = Config(model="MultiVAE", dataset="task", config_dict=settings)
    return config, create_dataset(config).build()[0]


def _lists(model: MultiVAE, data: Dataset, task: TopN) -> np.ndarray:
    n_users, n_items = task.train.shape
    # RecBole counts in the order of appearance, and from 1; 0 is for padding.
    users = data.token2id("user_id", [str(user) for user in range(n_users)])
    known = data.id2token("item_id", np.arange(1, model.n_items)).astype(np.int64)
    model.eval()
    top = np.empty((n_users, task.k), np.int64)
    for start in range(0, n_users, BLOCK):
        rows = slice(start, min(start + BLOCK, n_users))
        with torch.inference_mode():
            rating_matrix = model.get_rating_matrix(torch.from_numpy(users[rows]))
            found = model.forward(rating_matrix)[0].numpy()
        scores = np.full((rows.stop - start, n_items), -np.inf, np.float32)
        scores[:, known] = found[:, 1:]
        scores[task.train[rows].nonzero()] = -np.inf
        best = np.argpartition(-scores, task.k - 1, axis=1)[:, : task.k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        lost = np.isneginf(np.take_along_axis(scores, best, axis=1))
        top[rows] = np.where(lost, -1, best)
    return top


if __name__ == "__main__":
    main(answer, recbole=recbole.__version__, torch=torch.__version__)
