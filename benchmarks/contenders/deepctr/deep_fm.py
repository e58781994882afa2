"""DeepFM of DeepCTR-Torch: ids label-encoded, numbers scaled to 0 to 1, as its examples do.

Each epoch is one call of `fit`, and the epoch with the least log-loss on the validation rows
answers; training ends after three epochs without a better one, as for ours.
"""

import copy

import deepctr_torch
import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DeepFM

from benchmarks.contenders.protocol import MULTI_VALUED, THREADS, Click, Clock, main

NUMBERS = ("age", "year")
PATIENCE = 3


def answer(task: Click, clock: Clock) -> np.ndarray:
    torch.set_num_threads(THREADS)
    torch.manual_seed(task.seed)
    p = task.parameters
    with clock("prepare"):
        features, (train, held, test) = encoded(task, p["embedding"])
        model = DeepFM(
            features, features, dnn_hidden_units=tuple(p["hidden"]), dnn_dropout=p["dropout"],
            seed=task.seed, device="cpu",
        )  # fmt: skip
        model.compile("adam", "binary_crossentropy")
    best, state, worse = np.inf, None, 0
    with clock("fit"):
        for _ in range(p["epochs"]):
            model.fit(train, task.labels.astype(np.float32), p["batch_size"], epochs=1, verbose=0)
            clock.trained_rows += len(task.labels)
            loss = log_loss(model.predict(held, 8192)[:, 0], task.validation_labels)
            worse += 1
            if loss < best:
                best, state, worse = loss, copy.deepcopy(model.state_dict()), 0
            if worse == PATIENCE:
                break
    model.load_state_dict(state)
    with clock("predict"):
        predicted: np.ndarray = model.predict(test, 8192)[:, 0].astype(np.float64)
    return predicted


def encoded(task: Click, dim: int) -> tuple[list[object], list[dict[str, np.ndarray]]]:
    """Feature columns of DeepCTR, and the three parts as it takes them; 0 is the unknown."""
    parts = [task.train, task.validation, task.test]
    without = task.parameters.get("without", [])
    made: list[dict[str, np.ndarray]] = [{} for _ in parts]
    features: list[object] = []
    for name, known in task.train.items():
        if name in without:
            continue
        if name in NUMBERS:
            low, high = np.nanmin(known), np.nanmax(known)
            for part, out in zip(parts, made, strict=True):
                scaled = (part[name] - low) / (high - low)
                out[name] = np.nan_to_num(scaled, nan=0.5).astype(np.float32)
            features.append(DenseFeat(name, 1))
        elif name in MULTI_VALUED:
            values = sorted({value for text in known for value in text.split("|")} - {""})
            rows = {value: row for row, value in enumerate(values, 1)}
            width = max(len(s.split("|")) for part in parts for s in part[name])
            for part, out in zip(parts, made, strict=True):
                out[name] = np.zeros((len(part[name]), width), np.int64)
                for place, text in enumerate(part[name]):
                    codes = [rows.get(value, 0) for value in text.split("|")]
                    out[name][place, : len(codes)] = codes
            sparse = SparseFeat(name, len(rows) + 1, embedding_dim=dim)
            features.append(VarLenSparseFeat(sparse, maxlen=width, combiner="mean"))
        else:
            values = np.unique(known)
            for part, out in zip(parts, made, strict=True):
                place = np.searchsorted(values, part[name]).clip(max=len(values) - 1)
                out[name] = np.where(values[place] == part[name], place + 1, 0)
            features.append(SparseFeat(name, len(values) + 1, embedding_dim=dim))
    return features, made


def log_loss(p: np.ndarray, labels: np.ndarray) -> float:
    p = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log(1 - p))))


if __name__ == "__main__":
    main(answer, deepctr_torch=deepctr_torch.__version__, torch=torch.__version__)
