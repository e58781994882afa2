"""Post-filtering: a model's scores, weighed by how usual an item is in the circumstances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.parts.circumstances import Circumstances
from tastemap.retrieval.parts.contextual import Contextual
from tastemap.training.run import Run

__all__ = ["ContextPostFilter"]


class ContextPostFilter(Contextual):
    """The scores of a model that knows no circumstances, times how much more usual an item is in
    those of the request:

        score(q, i) lift(i),   lift(i) = product over columns c of P(value of q in c | i) / P(value)

    (contextual post-filtering by weights, Adomavicius & Tuzhilin 2011; the columns as if they were
    independent). P(v | i) is the share of the item's events in which the column had that value, as
    if it had `prior` more events in the usual proportion. A negative score is divided by the lift,
    so that a higher one is always better.
    """

    name: ClassVar[str] = "contextpostfilter"
    paper: ClassVar[str] = (
        "Adomavicius & Tuzhilin 2011, Context-Aware Recommender Systems (Recommender Systems "
        "Handbook); Panniello et al. 2009, Experimental Comparison of Pre- vs. Post-Filtering "
        "Approaches in Context-Aware Recommender Systems (RecSys)"
    )

    prior: float = hyperparameter(
        default=20.0, help="events that an item's shares are drawn to the usual ones by",
        gt=0, log=True,
    )  # fmt: skip

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self._count(dataset)
        self.everything.fit(dataset, validation=validation, run=run)

    def _count(self, dataset: Dataset) -> None:
        self._circumstances = Circumstances(dataset, self.named_columns(dataset))
        h, n = dataset.histories, len(dataset.items)
        # By column the events of each item with each value (row 0: with none), and with any.
        self._events = []
        for codes, values in zip(
            self._circumstances.of_events.T, self._circumstances.values, strict=True
        ):
            ones = np.ones(h.n_events, np.float32)
            events = csr_array((ones, (codes, h.items)), shape=(len(values) + 1, n))
            self._events.append((events, events[1:].sum(axis=0)))

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        scores = self.everything.score(queries, items)
        codes = self._circumstances.of(queries.context, len(queries))
        # Those who ask in the same circumstances have the same lifts.
        asked, which = np.unique(codes, axis=0, return_inverse=True)
        lifts = np.empty((len(asked), scores.shape[1]), np.float32)
        for row, each in enumerate(asked):
            lifts[row] = self._lift(each) if items is None else self._lift(each)[items]
        lift = lifts[which.ravel()]
        weighed: NDArray[np.float32] = scores * np.where(scores < 0, 1 / lift, lift)
        return weighed

    def _lift(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [item rows], for a value of each column."""
        lift = np.ones(len(self.items), np.float32)
        for code, (events, of_all) in zip(codes.tolist(), self._events, strict=True):
            if code:
                of_value = events[[code]].toarray()[0]
                usual = of_value.sum() / of_all.sum()
                lift *= (of_value / usual + self.prior) / (of_all + self.prior)
        return lift

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(tensors)
        # Counted anew, so that it forgets whom the data forget.
        self._count(self.data)
