"""DeepFM of torch-rechub with its trainer: ids label-encoded, numbers scaled to 0 to 1, as its
examples do.

It has no place for numbers in its factorization machine; they go into the deep part alone. With
`refit` it learns once more, from the validation rows too, for as many epochs as these had chosen.
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator

from benchmarks.contenders.encoding import encoded, together, train_until_worse
from benchmarks.contenders.protocol import THREADS, Click, Clock, main


def answer(task: Click, clock: Clock) -> np.ndarray:
    torch.set_num_threads(THREADS)
    with clock("prepare"):
        trainer, (learned, validation, asked) = prepared(task)
    with clock("fit"):
        epochs = train_until_worse(
            task,
            clock,
            trainer.model,
            lambda: trainer.train_one_epoch(learned),
            lambda: np.array(trainer.predict(trainer.model, validation)),
        )
        if task.parameters.get("refit"):
            task = together(task)
            trainer, (learned, _, asked) = prepared(task)
            for _ in range(epochs):
                trainer.train_one_epoch(learned)
                clock.trained_rows += len(task.labels)
    with clock("predict"):
        return np.array(trainer.predict(trainer.model, asked), np.float64)


def prepared(task: Click) -> tuple[CTRTrainer, Any]:
    """A trainer of an untrained model, and loaders of the three parts."""
    torch.manual_seed(task.seed)
    p = task.parameters
    rows = encoded(task)
    train, held, test = rows.parts
    dense: list[object] = [DenseFeature(name) for name in rows.numbers]
    sparse: list[object] = [
        SequenceFeature(name, size, p["embedding"], "mean", padding_idx=0)
        if name in rows.widths
        else SparseFeature(name, size, p["embedding"])
        for name, size in rows.sizes.items()
    ]
    deep = {"dims": p["hidden"], "dropout": p["dropout"]}
    nothing = np.zeros(len(task.test["user"]), np.int8)
    loaders = DataGenerator(train, task.labels).generate_dataloader(
        x_val=held, y_val=task.validation_labels, x_test=test, y_test=nothing,
        batch_size=p["batch_size"],
    )  # fmt: skip
    return CTRTrainer(DeepFM(sparse + dense, sparse, deep)), loaders


if __name__ == "__main__":
    main(answer, torch_rechub=version("torch-rechub"), torch=torch.__version__)
