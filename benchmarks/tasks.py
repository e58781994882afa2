"""A task in a folder, with what judges an answer to it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import evaluator, ranking_rows
from benchmarks.contenders import protocol
from benchmarks.ranking_rows import LABEL, Rows
from benchmarks.splits import NextSplit, RatingSplit, TopNSplit

Judge = Callable[[np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Task:
    """`folder` holds what every contender reads, `judge` what no contender sees."""

    folder: Path
    judge: Judge
    split_hash: str
    n_train: int


@contextmanager
def lists(split: TopNSplit, k: int = evaluator.DEPTH) -> Iterator[Task]:
    """Rank what each user has not seen. Only lists of the evaluator's own depth can be judged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        protocol.write_top_n(folder, split.train, k)
        yield Task(
            folder,
            lambda answer: evaluator.judge_lists(answer, split.train, split.test),
            split.hash,
            split.train.nnz,
        )


@contextmanager
def sequences(split: NextSplit, k: int = evaluator.DEPTH) -> Iterator[Task]:
    """Foretell what each user chooses next, among what is not in the history."""
    n_items = split.history.shape[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fields = ("offsets", "items", "times", "trained")
        arrays = {field: getattr(split, field) for field in fields}
        protocol.write_fields(folder, **arrays, n_items=n_items, k=k)
        yield Task(
            folder,
            lambda answer: evaluator.judge_lists(
                answer, split.history, split.last, evaluator.METRICS_OF_NEXT
            ),
            split.hash,
            int(split.trained.sum()),
        )


@contextmanager
def ratings(split: RatingSplit) -> Iterator[Task]:
    """Predict the ratings of the test part."""
    r = split.ratings
    timed = {}
    if r.times is not None:
        timed = {"times": r.times[split.train], "test_times": r.times[split.test]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        protocol.write_fields(
            folder,
            **timed,
            users=r.users[split.train],
            items=r.items[split.train],
            values=r.values[split.train],
            test_users=r.users[split.test],
            test_items=r.items[split.test],
        )
        truth = r.values[split.test]
        yield Task(
            folder,
            lambda answer: evaluator.judge_ratings(answer, truth),
            split.hash,
            len(split.train),
        )


@contextmanager
def clicks(rows: Rows) -> Iterator[Task]:
    """Say how probable it is that each test row is liked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
        columns = {
            f"{part}.{name}": column
            for part, frame in parts.items()
            for name, column in ranking_rows.columns(frame).items()
        }
        protocol.write_fields(
            folder,
            **columns,
            labels=rows.train[LABEL].to_numpy(),
            validation_labels=rows.validation[LABEL].to_numpy(),
        )
        truth, users = rows.test[LABEL].to_numpy(), rows.test["user"].to_numpy()
        yield Task(
            folder,
            lambda answer: evaluator.judge_clicks(answer, truth, users),
            rows.hash,
            rows.train.height,
        )
