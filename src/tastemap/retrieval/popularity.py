"""The most popular items: the baseline that every model must beat, and the answer to a stranger."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.base import Retriever
from tastemap.training.run import Run

__all__ = ["Popularity"]

_DAY = 86_400.0


class Popularity(Retriever):
    """Ranks items by how often they were chosen, lately if asked.

    An event counts `0.5 ** (age / half_life)`, its age being taken at the last event of the
    training data; events older than the window do not count. Each event counts alike, whatever its
    value.

    Attributes:
        weights: float32 [item rows], the (decayed) count of each item.
    """

    name: ClassVar[str] = "popularity"
    paper: ClassVar[str] = "Ji et al. 2020, A Re-visit of the Popularity Baseline (SIGIR)"
    learned: ClassVar[tuple[str, ...]] = ("weights",)

    window_days: float | None = hyperparameter(
        default=None,
        help="count only the events of the last so many days; none for all",
        gt=0,
        log=True,
    )
    half_life_days: float | None = hyperparameter(
        default=None,
        help="after so many days an event counts half; none for no decay",
        gt=0,
        log=True,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        h = dataset.histories
        if (self.window_days or self.half_life_days) and not dataset.has_times:
            raise DataError(
                "Popularity with a window or decay needs the times of events",
                remedy="Map a time column, or leave window_days and half_life_days out",
            )
        age = (h.times.max() - h.times) / _DAY
        counts = (
            np.ones(h.n_events) if not self.half_life_days else 0.5 ** (age / self.half_life_days)
        )
        if self.window_days is not None:
            counts = counts * (age <= self.window_days)
        self.weights: NDArray[np.float32] = np.bincount(
            h.items, counts, minlength=len(dataset.items)
        ).astype(np.float32)

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        weights = self.weights if items is None else self.weights[items]
        return np.broadcast_to(weights, (len(queries), len(weights)))

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        return np.ones(len(queries), np.bool_)

    def evidence(self, history: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Nothing of a history speaks for a popular item.
        return np.zeros((len(history), len(items)), np.float32)
