"""What rankers of boosted trees have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.requests import Requests
from tastemap.training.run import Run

__all__ = ["BoostedRanker", "columns_of"]

# A vocabulary made from a frame has the most frequent values first.
_MOST_VALUES = 64


class BoostedRanker(Ranker):
    """A ranker of boosted trees.

    Of a multi-valued feature it sees which of the first 64 values are there; sequences it does not
    see. Of several tasks it has trees for each. Where it is known at which places rows were shown,
    the place is one more column, and an answer is the mean over places. The libraries have loops of
    their own, on the CPU, to which nothing of `Run` applies.
    """

    objectives: ClassVar[dict[str, str]]
    """What the library calls each objective."""
    shares: ClassVar[str]
    """What it calls the pointwise objective where labels are shares from 0 to 1."""
    stored_as: ClassVar[str]
    """What its form of storage is called."""

    boosters: list[Any] = assigned_by_fit()
    """What has learned, as the library has it; one for each task."""
    asked_places: ClassVar[int]
    """How many places an answer is the mean over, at most."""
    places: NDArray[np.int64] = assigned_by_fit()
    """Those places; none where it has not learned from places."""

    trees: int = hyperparameter(default=1000, help="at most so many", ge=1, tuned=False)
    depth: int = hyperparameter(default=6, help="of a tree", ge=1, le=16)
    learning_rate: float = hyperparameter(
        default=0.05, help="what a tree counts", gt=0, le=1, log=True
    )
    l2: float = hyperparameter(default=3.0, help="of the leaves' values", ge=0, log=True)
    patience: int = hyperparameter(
        default=50, help="with validation: stop after so many trees without a better value",
        ge=1, tuned=False,
    )  # fmt: skip
    seed: int = hyperparameter(default=0, help="of all random numbers", ge=0, tuned=False)

    @abstractmethod
    def _boosted(self, train: Labelled, validation: Labelled | None, trees: int) -> Any:
        """A booster of at most so many trees that has learned from rows with one label."""

    @staticmethod
    @abstractmethod
    def _trees_of(booster: Any) -> int:
        """How many trees of a booster answer."""

    @abstractmethod
    def _raw(
        self, booster: Any, features: FeatureBatch, positions: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        """The log-odds, float32 [n], of a booster, at some places where it knows of places."""

    @staticmethod
    @abstractmethod
    def _bytes_of(booster: Any) -> bytes:
        """A booster as the library writes it."""

    @staticmethod
    @abstractmethod
    def _of_bytes(stored: bytes) -> Any:
        """What `_bytes_of` was taken from."""

    def objective_for(self, train: Labelled, validation: Labelled | None) -> str:
        """What the library calls the objective for some rows."""
        given = (train,) if validation is None else (train, validation)
        if all(np.isin(rows.labels, (0, 1)).all() for rows in given):
            return self.objectives[self.objective]
        return self.shares

    def _fit(self, train: Labelled, validation: Labelled | None, run: Run) -> None:
        self.places = _typical(train.positions, self.asked_places)
        parts = self._by_task(train)
        held = [None] * len(parts) if validation is None else self._by_task(validation)
        self.boosters = [
            self._boosted(rows, apart, self.trees) for rows, apart in zip(parts, held, strict=True)
        ]

    def _fit_again(self, rows: Labelled, run: Run) -> bool:
        self.places = _typical(rows.positions, self.asked_places)
        self.boosters = [
            self._boosted(each, None, self._trees_of(booster))
            for each, booster in zip(self._by_task(rows), self.boosters, strict=True)
        ]
        return True

    def _by_task(self, rows: Labelled) -> list[Labelled]:
        """The rows with one label each, for each booster."""
        if self._tasks is None:
            return [rows]
        return [rows.of_task(task) for task in range(len(self._tasks))]

    def _score(self, features: FeatureBatch) -> NDArray[np.float32]:
        scores = [self._odds(booster, features) for booster in self.boosters]
        return scores[0] if self._tasks is None else np.stack(scores, 1)

    def _odds(self, booster: Any, features: FeatureBatch) -> NDArray[np.float32]:
        if len(self.places) == 0:
            return self._raw(booster, features, None)
        places = (np.full(len(features), place) for place in self.places)
        scores = [self._raw(booster, features, each) for each in places]
        mean: NDArray[np.float32] = np.mean(scores, 0, dtype=np.float32)
        return mean

    def tensors(self) -> dict[str, NDArray[Any]]:
        places = {"places": self.places} if len(self.places) else {}
        return {
            name: np.frombuffer(self._bytes_of(booster), np.uint8)
            for name, booster in zip(self._names(), self.boosters, strict=True)
        } | places

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.places = tensors.get("places", np.empty(0, np.int64))
        self.boosters = [self._of_bytes(tensors[name].tobytes()) for name in self._names()]

    def _names(self) -> list[str]:
        """Of the boosters, as they are stored."""
        if self._tasks is None:
            return [self.stored_as]
        return [f"{self.stored_as}-{task}" for task in range(len(self._tasks))]

    def by_request(self, data: Labelled) -> tuple[Labelled, NDArray[np.int64] | None]:
        """Rows as the libraries take them, and, where their order is learned, how many rows each
        request has, int64 [G], those of one side by side."""
        if self.objective == "pointwise" or data.groups is None:
            return data, None
        requests = Requests.of(data.labels, data.groups)
        rows = requests.rows
        positions = None if data.positions is None else data.positions[rows]
        some = Labelled(data.features.take(rows), data.labels[rows], positions=positions)
        return some, requests.sizes


def _typical(positions: NDArray[np.int64] | None, n: int) -> NDArray[np.int64]:
    """At most n places among which those that are known are spread evenly; none without any."""
    if positions is None:
        return np.empty(0, np.int64)
    known = positions[positions > 0]
    if len(known) == 0:
        return np.ones(1, np.int64)
    found = np.quantile(known, (np.arange(n) + 0.5) / n, method="nearest")
    return np.unique(found).astype(np.int64)


def columns_of(
    features: FeatureBatch, positions: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Categories, int64 [n, C], and numbers, float32 [n, M], among these the values of lists and
    the numbers of vectors, and last, where they are given, the places of the rows."""
    sizes = [feature.size for feature in features.schema.multi_valued]
    hot = [_hot(lists, size) for lists, size in zip(features.multi_valued, sizes, strict=True)]
    places = [] if positions is None else [np.where(positions > 0, positions, np.nan)[:, None]]
    parts = [features.numeric, *features.vectors, *hot, *places]
    numbers = np.concatenate(parts, 1, dtype=np.float32)
    return features.categorical, numbers


def _hot(lists: Ragged, size: int) -> NDArray[np.float32]:
    """Which of the first values each list has, float32 [n, at most 64]."""
    shown = np.zeros((len(lists), min(size - 1, _MOST_VALUES) + 1), np.float32)
    seen = lists.rows < shown.shape[1]
    of = np.repeat(np.arange(len(lists)), lists.counts)
    shown[of[seen], lists.rows[seen]] = 1
    return shown[:, 1:]
