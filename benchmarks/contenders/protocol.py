"""What a contender's script and the runner say to each other.

A script writes one function, `answer(task, clock)`, and hands it to `main`. It is run by the
contender's own Python, so this file needs nothing but numpy and scipy. The same function first
answers a small part of the task, which compiles and loads what has to be; that is not counted.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

THREADS = int(os.environ.get("BENCHMARK_THREADS", "2"))


@dataclass(frozen=True)
class TopN:
    """Rank the unseen items of every user: the answer is int [users, k], -1 where it ends early."""

    train: sparse.csr_matrix
    k: int
    seed: int
    parameters: dict[str, Any]

    def small(self) -> "TopN":
        part = self.train[:200, :500]
        part = part[np.diff(part.indptr) > 0]
        return TopN(part, self.k, self.seed, self.parameters)


@dataclass(frozen=True)
class Rate:
    """Predict ratings: the answer is float [len(test_users)].

    The times are Unix seconds; who looks at them knows when each test rating was given.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    test_users: np.ndarray
    test_items: np.ndarray
    seed: int
    parameters: dict[str, Any]
    times: np.ndarray | None = None
    test_times: np.ndarray | None = None

    def small(self) -> "Rate":
        u, i, v = self.users[:5000], self.items[:5000], self.values[:5000]
        t = None if self.times is None else self.times[:5000]
        at = None if t is None else t[:100]
        return Rate(u, i, v, u[:100], i[:100], self.seed, self.parameters, t, at)


@dataclass(frozen=True)
class Next:
    """Foretell what each user chooses next: the answer is int [users, k], -1 where it ends early.

    Items that stand in a user's history are not asked for. Events are in order of time (ties in
    that of the file): those of user u are `offsets[u]:offsets[u + 1]` of `items` and `times`. All
    of them are known when the question is asked, but only where `trained` holds may a model learn
    from them.
    """

    offsets: np.ndarray
    items: np.ndarray
    times: np.ndarray
    trained: np.ndarray
    n_items: int
    k: int
    seed: int
    parameters: dict[str, Any]

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def users(self) -> np.ndarray:
        """Of each event."""
        return np.repeat(np.arange(self.n_users), np.diff(self.offsets))

    def small(self) -> "Next":
        offsets = self.offsets[:201]
        parts = (part[: offsets[-1]] for part in (self.items, self.times, self.trained))
        return Next(offsets, *parts, self.n_items, self.k, self.seed, self.parameters)


# Columns of a `Click` that tell of the past, as totals and as lists.
TOTALS = (
    "user_count", "user_rate", "item_count", "item_rate", "genre_count", "genre_rate", "genre_best",
)  # fmt: skip
LISTS = ("liked_before", "disliked_before")
# Those that hold several values with "|" between them.
MULTI_VALUED = ("genres", *LISTS)


@dataclass(frozen=True)
class Click:
    """Say how probable it is that a row is liked: the answer is float [test rows].

    Each part has the same columns, arrays of text or numbers; text of several values has "|"
    between them. `labels` are 0 or 1. The validation rows may decide when to stop, and among
    settings.
    """

    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    labels: np.ndarray
    validation_labels: np.ndarray
    seed: int
    parameters: dict[str, Any]

    def small(self) -> "Click":
        def head(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: column[:2000] for name, column in part.items()}

        parts = (head(part) for part in (self.train, self.validation, self.test))
        labels = self.labels[:2000], self.validation_labels[:2000]
        return Click(*parts, *labels, self.seed, self.parameters)


@dataclass
class Clock:
    """Wall seconds by phase: `prepare` (into the library's own structures), `fit`, `recommend`;
    `trained_rows` are those that training went over, each counted as often as it did."""

    seconds: dict[str, float] = field(default_factory=dict)
    trained_rows: int = 0

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start


def unseen(scores: np.ndarray, train: sparse.csr_matrix, k: int) -> np.ndarray:
    """The k items with the highest of scores [users, items] that a user has not seen; for a library
    that gives vectors and no lists."""
    scores = scores.astype(np.float32)
    scores[train.nonzero()] = -np.inf
    k_there = min(k, scores.shape[1])
    best = np.argpartition(-scores, k_there - 1, axis=1)[:, :k_there]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1)
    top = np.full((len(scores), k), -1)
    top[:, :k_there] = np.take_along_axis(best, order, axis=1)
    top[:, :k_there][np.take_along_axis(values, order, axis=1) == -np.inf] = -1
    return top


def ranked(users: Any, ranks: Any, items: Any, shape: tuple[int, int]) -> np.ndarray:
    """The lists, int `shape`, of columns that give an item of a user and its rank from 1; for a
    library that answers with a frame."""
    top = np.full(shape, -1)
    top[users, ranks - 1] = items
    return top


def read(folder: Path, seed: int, parameters: dict[str, Any]) -> TopN | Rate | Next | Click:
    """The task in `folder`, as the runner wrote it with one of the functions below."""
    arrays = dict(np.load(folder / "train.npz"))
    if "indptr" in arrays:
        data = np.ones(len(arrays["indices"]), np.float32)
        shape = tuple(arrays["shape"])
        train = sparse.csr_matrix((data, arrays["indices"], arrays["indptr"]), shape=shape)
        return TopN(train, int(arrays["k"]), seed, parameters)
    if "offsets" in arrays:
        numbers = {name: int(arrays.pop(name)) for name in ("n_items", "k")}
        return Next(**arrays, **numbers, seed=seed, parameters=parameters)
    if "labels" in arrays:
        labels = arrays.pop("labels"), arrays.pop("validation_labels")
        parts: dict[str, dict[str, np.ndarray]] = {"train": {}, "validation": {}, "test": {}}
        for name, column in arrays.items():
            part, _, of = name.partition(".")
            parts[part][of] = column
        return Click(
            **parts, labels=labels[0], validation_labels=labels[1], seed=seed, parameters=parameters
        )
    return Rate(**arrays, seed=seed, parameters=parameters)


def write_top_n(folder: Path, train: sparse.csr_matrix, k: int) -> None:
    arrays = {"indptr": train.indptr, "indices": train.indices, "shape": train.shape, "k": k}
    np.savez(folder / "train.npz", **arrays)


def write_fields(folder: Path, **arrays: Any) -> None:
    """`arrays` are the fields of `Rate`, `Next` or `Click`, whose columns are called
    `part.column`; what they ask for is never written."""
    np.savez(folder / "train.npz", **arrays)


def main(answer: Callable[[Any, Clock], np.ndarray], **versions: str) -> None:
    """Answer the task of the command line and write `answer.npy` and `report.json`.

    `versions` are those of the packages that a result names.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--parameters", type=json.loads, required=True)
    said = parser.parse_args()
    task = read(said.folder, said.seed, said.parameters)

    answer(task.small(), Clock())
    clock = Clock()
    result = answer(task, clock)

    np.save(said.out / "answer.npy", result)
    report = {
        "seconds": clock.seconds,
        "trained_rows": clock.trained_rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": {**versions, "numpy": np.__version__},
        "threads": THREADS,
    }
    (said.out / "report.json").write_text(json.dumps(report))
