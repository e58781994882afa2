"""DeepFM of torch-rechub with its trainer: ids label-encoded, numbers scaled to 0 to 1, as its
examples do.

It has no place for numbers in its factorization machine; they go into the deep part alone.
"""

from importlib.metadata import version

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator

from benchmarks.contenders.encoding import encoded, train_until_worse
from benchmarks.contenders.protocol import THREADS, Click, Clock, main


def answer(task: Click, clock: Clock) -> np.ndarray:
    torch.set_num_threads(THREADS)
    torch.manual_seed(task.seed)
    p = task.parameters
    with clock("prepare"):
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
        trainer = CTRTrainer(DeepFM(sparse + dense, sparse, deep))
        nothing = np.zeros(len(task.test["user"]), np.int8)
        loaders = DataGenerator(train, task.labels).generate_dataloader(
            x_val=held, y_val=task.validation_labels, x_test=test, y_test=nothing,
            batch_size=p["batch_size"],
        )  # fmt: skip
    learned, validation, asked = loaders
    with clock("fit"):
        train_until_worse(
            task,
            clock,
            trainer.model,
            lambda: trainer.train_one_epoch(learned),
            lambda: np.array(trainer.predict(trainer.model, validation)),
        )
    with clock("predict"):
        return np.array(trainer.predict(trainer.model, asked), np.float64)


if __name__ == "__main__":
    main(answer, torch_rechub=version("torch-rechub"), torch=torch.__version__)
