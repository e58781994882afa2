"""Rows as libraries for labelled rows take them, and training that stops as ours does."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.contenders.protocol import MULTI_VALUED, TOTALS, Click, Clock

NUMBERS = ("age", "year", *TOTALS)
PATIENCE = 3


@dataclass(frozen=True)
class Encoded:
    """The three parts of a `Click`, by column: ids label-encoded, 0 the unknown, int64 [n]; lists
    of ids, 0 behind their end, int64 [n, width]; numbers scaled to 0 to 1, float32 [n].

    Attributes:
        sizes: rows of a table, by column of ids and of lists.
        widths: of columns of lists.
        numbers: columns of numbers.
    """

    parts: tuple[dict[str, np.ndarray], ...]
    sizes: dict[str, int] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)


def encoded(task: Click) -> Encoded:
    """All columns but those that the parameters say it is `without`."""
    parts = [task.train, task.validation, task.test]
    made = Encoded(({}, {}, {}))
    for name, known in task.train.items():
        if name in task.parameters.get("without", []):
            continue
        if name in NUMBERS:
            low, high = np.nanmin(known), np.nanmax(known)
            for part, out in zip(parts, made.parts, strict=True):
                scaled = (part[name] - low) / (high - low)
                out[name] = np.nan_to_num(scaled, nan=0.5).astype(np.float32)
            made.numbers.append(name)
        elif name in MULTI_VALUED:
            values = sorted({value for text in known for value in text.split("|")} - {""})
            rows = {value: row for row, value in enumerate(values, 1)}
            width = max(len(s.split("|")) for part in parts for s in part[name])
            for part, out in zip(parts, made.parts, strict=True):
                out[name] = np.zeros((len(part[name]), width), np.int64)
                for place, text in enumerate(part[name]):
                    codes = [rows.get(value, 0) for value in text.split("|")]
                    out[name][place, : len(codes)] = codes
            made.sizes[name], made.widths[name] = len(rows) + 1, width
        else:
            values = np.unique(known)
            for part, out in zip(parts, made.parts, strict=True):
                place = np.searchsorted(values, part[name]).clip(max=len(values) - 1)
                out[name] = np.where(values[place] == part[name], place + 1, 0)
            made.sizes[name] = len(values) + 1
    return made


def train_until_worse(
    task: Click,
    clock: Clock,
    module: Any,
    train_epoch: Callable[[], object],
    answer_validation: Callable[[], np.ndarray],
) -> int:
    """Trains a torch module for at most `epochs` of the parameters, and leaves it as it was after
    the one with the least log-loss on the validation rows, whose number it gives, from 1 on; after
    three without a better one training ends, as ours does."""
    best, state, worse, chosen = np.inf, None, 0, 0
    for epoch in range(1, task.parameters["epochs"] + 1):
        train_epoch()
        clock.trained_rows += len(task.labels)
        loss = log_loss(answer_validation(), task.validation_labels)
        worse += 1
        if loss < best:
            best, state, worse, chosen = loss, copy.deepcopy(module.state_dict()), 0, epoch
        if worse == PATIENCE:
            break
    module.load_state_dict(state)
    return chosen


def together(task: Click) -> Click:
    """The task with the validation rows among those to train on."""
    train = {name: np.concatenate([task.train[name], task.validation[name]]) for name in task.train}
    labels = np.concatenate([task.labels, task.validation_labels])
    return replace(task, train=train, labels=labels)


def log_loss(p: np.ndarray, labels: np.ndarray) -> float:
    p = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log(1 - p))))
