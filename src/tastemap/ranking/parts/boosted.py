"""What rankers of boosted trees have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.requests import Requests

__all__ = ["BoostedRanker", "columns_of"]

# A vocabulary made from a frame has the most frequent values first.
_MOST_VALUES = 64


class BoostedRanker(Ranker):
    """A ranker of boosted trees.

    Of a multi-valued feature it sees which of the first 64 values are there; sequences it does not
    see. Where it is known at which places rows were shown, the place is one more column, and an
    answer is that at the first place (the usual way that Guo et al. 2019, PAL, compare with). The
    libraries have loops of their own, on the CPU, to which nothing of `Run` applies.
    """

    objectives: ClassVar[dict[str, str]]
    """What the library calls each objective."""

    knows_positions: bool = assigned_by_fit()
    """Whether places of rows were among the columns."""

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

    def first_places(self, n: int) -> NDArray[np.int64] | None:
        """The places at which n rows are scored, where it knows of places."""
        return np.ones(n, np.int64) if self.knows_positions else None

    def stored_with(self, name: str, booster: bytes) -> dict[str, NDArray[Any]]:
        """What is stored: a booster as the library writes it, and what it has learned from."""
        places = {"positions": np.ones(1, np.uint8)} if self.knows_positions else {}
        return {name: np.frombuffer(booster, np.uint8), **places}

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


def columns_of(
    features: FeatureBatch, positions: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Categories, int64 [n, C], and numbers, float32 [n, M], among these the values of lists, and
    last, where they are given, the places of the rows."""
    sizes = [feature.size for feature in features.schema.multi_valued]
    hot = [_hot(lists, size) for lists, size in zip(features.multi_valued, sizes, strict=True)]
    places = [] if positions is None else [np.where(positions > 0, positions, np.nan)[:, None]]
    numbers = np.concatenate([features.numeric, *hot, *places], 1, dtype=np.float32)
    return features.categorical, numbers


def _hot(lists: Ragged, size: int) -> NDArray[np.float32]:
    """Which of the first values each list has, float32 [n, at most 64]."""
    shown = np.zeros((len(lists), min(size - 1, _MOST_VALUES) + 1), np.float32)
    seen = lists.rows < shown.shape[1]
    of = np.repeat(np.arange(len(lists)), lists.counts)
    shown[of[seen], lists.rows[seen]] = 1
    return shown[:, 1:]
