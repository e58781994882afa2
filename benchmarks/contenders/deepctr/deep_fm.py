"""DeepFM of DeepCTR-Torch: ids label-encoded, numbers scaled to 0 to 1, as its examples do.

Each epoch is one call of `fit`.
"""

import deepctr_torch
import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DeepFM

from benchmarks.contenders.encoding import Encoded, encoded, train_until_worse
from benchmarks.contenders.protocol import THREADS, Click, Clock, main


def answer(task: Click, clock: Clock) -> np.ndarray:
    torch.set_num_threads(THREADS)
    torch.manual_seed(task.seed)
    p = task.parameters
    with clock("prepare"):
        rows = encoded(task)
        train, held, test = rows.parts
        features = columns(rows, p["embedding"])
        model = DeepFM(
            features, features, dnn_hidden_units=tuple(p["hidden"]), dnn_dropout=p["dropout"],
            seed=task.seed, device="cpu",
        )  # fmt: skip
        model.compile("adam", "binary_crossentropy")
        labels = task.labels.astype(np.float32)
    with clock("fit"):
        train_until_worse(
            task,
            clock,
            model,
            lambda: model.fit(train, labels, p["batch_size"], epochs=1, verbose=0),
            lambda: model.predict(held, 8192)[:, 0],
        )
    with clock("predict"):
        predicted: np.ndarray = model.predict(test, 8192)[:, 0].astype(np.float64)
    return predicted


def columns(rows: Encoded, dim: int) -> list[object]:
    """Columns as DeepCTR describes them."""
    features: list[object] = [DenseFeat(name, 1) for name in rows.numbers]
    for name, size in rows.sizes.items():
        sparse = SparseFeat(name, size, embedding_dim=dim)
        if name in rows.widths:
            sparse = VarLenSparseFeat(sparse, maxlen=rows.widths[name], combiner="mean")
        features.append(sparse)
    return features


if __name__ == "__main__":
    main(answer, deepctr_torch=deepctr_torch.__version__, torch=torch.__version__)
