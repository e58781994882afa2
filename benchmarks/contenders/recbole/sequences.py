"""Sequence models of `recbole`, of which each prefix of a history is a padded example."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

from benchmarks.contenders.protocol import THREADS, Clock, Next, main

BLOCK = 1000


def answer(task: Next, clock: Clock) -> np.ndarray:
    logging.disable()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name, clock("prepare"):
        config, data = _data(task, Path(name))
        loader = TrainDataLoader(config, data, None, shuffle=True)
    init_seed(task.seed, reproducibility=True)
    model = get_model(config["model"])(config, data)
    with clock("fit"):
        Trainer(config, model).fit(loader, saved=False)
    with clock("recommend"):
        return _lists(model, data, task)


def _data(task: Next, folder: Path) -> tuple[Config, Dataset]:
    """All events that may be trained on, none held out to stop by."""
    (folder / "task").mkdir()
    users = task.users[task.trained].tolist()
    items = task.items[task.trained].tolist()
    with (folder / "task" / "task.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        # The order, so that ties in time keep it.
        events = zip(users, items, range(len(users)), strict=True)
        file.writelines(f"{u}\t{i}\t{t}\n" for u, i, t in events)
    parameters = dict(task.parameters)
    name = parameters.pop("model")
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "mode": "full"},
        "train_neg_sample_args": None,
        "use_gpu": False,
        "show_progress": False,
        "seed": task.seed,
        **parameters,
    }
    config = Config(model=name, dataset="task", config_dict=settings)
    return config, create_dataset(config).build()[0]


def _lists(model: torch.nn.Module, data: Dataset, task: Next) -> np.ndarray:
    # RecBole counts in the order of appearance, and from 1; 0 is for padding.
    token = np.zeros(task.n_items, np.int64)
    known = data.id2token("item_id", np.arange(1, data.item_num)).astype(np.int64)
    token[known] = np.arange(1, data.item_num)
    width = model.max_seq_length
    model.eval()
    top = np.full((task.n_users, task.k), -1)
    for start in range(0, task.n_users, BLOCK):
        rows = range(start, min(start + BLOCK, task.n_users))
        histories = [task.items[task.offsets[row] : task.offsets[row + 1]] for row in rows]
        read = [token[history][token[history] > 0][-width:] for history in histories]
        padded = np.zeros((len(rows), width), np.int64)
        for row, items in enumerate(read):
            padded[row, : len(items)] = items
        lengths = torch.tensor([max(len(items), 1) for items in read])
        asked = {model.ITEM_SEQ: torch.from_numpy(padded), model.ITEM_SEQ_LEN: lengths}
        with torch.inference_mode():
            found = model.full_sort_predict(Interaction(asked)).numpy()
        scores = np.full((len(rows), task.n_items), -np.inf, np.float32)
        scores[:, known] = found[:, 1:]
        for row, items in enumerate(histories):
            scores[row, items] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : task.k]
        lost = np.isneginf(np.take_along_axis(scores, best, axis=1))
        top[rows.start : rows.stop, : best.shape[1]] = np.where(lost, -1, best)
    return top


if __name__ == "__main__":
    main(answer, recbole=recbole.__version__, torch=torch.__version__)
