"""Three steps of a random walk between users and items, with popular items played down."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.neighbors import sum_neighbors
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.neighborhoods import best_neighbors
from tastemap.training.run import Run

__all__ = ["RP3Beta"]


class RP3Beta(Retriever):
    """Walks from a user to one of their items, on to another of its users, and to one of theirs.

    The chance to end at item j, of walks whose first step leads to item i, is

        w_ij = sum_u p(u | i)^α p(j | u)^α / popularity_j^β

    with p(u | i) = 1 / popularity_i and p(j | u) = 1 / (number of u's items) where u chose the
    item, and 0 elsewhere: α sharpens the steps (P³α of Cooper et al. 2014), β plays popular items
    down (RP³β of Paudel et al. 2016). A query scores the sum of w_ij over its items i, all of which
    its first step leads to with the same chance; only the best `neighbors` of each item are kept.

    Attributes:
        neighbor_offsets: int64 [item rows + 1]; neighbor_items: int32 [m]; neighbor_weights:
            float32 [m]. The w of item row i are the slice offsets[i]:offsets[i+1].
    """

    name: ClassVar[str] = "rp3beta"
    paper: ClassVar[str] = (
        "Paudel, Christoffel, Newell & Bernstein 2016, Updatable, Accurate, Diverse, and Scalable "
        "Recommendations for Interactive Applications (ACM TiiS)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "neighbor_offsets",
        "neighbor_items",
        "neighbor_weights",
    )

    zero_is_no_evidence: ClassVar[bool] = True

    alpha: float = hyperparameter(default=0.7, help="α, the power of each step's chance", ge=0)
    beta: float = hyperparameter(
        default=0.6, help="β, how far popular items are played down", ge=0, le=2
    )
    neighbors: int = hyperparameter(
        default=200, help="neighbours kept for each item", ge=1, le=100_000, log=True
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        chosen = dataset.histories.to_csr(len(dataset.items))
        popularity = np.maximum(np.bincount(chosen.indices, minlength=chosen.shape[1]), 1.0)
        activity = np.diff(chosen.indptr)
        to_items = chosen.astype(np.float32)
        to_items.data *= (np.repeat(activity, activity) ** -self.alpha).astype(np.float32)
        # What depends on the last item alone, the penalty, is put into the last step.
        to_items.data *= (popularity[chosen.indices] ** -self.beta).astype(np.float32)
        to_users = csr_array(chosen.T.astype(np.float32))
        leaving = np.diff(to_users.indptr)
        to_users.data *= (np.repeat(leaving, leaving) ** -self.alpha).astype(np.float32)
        found = best_neighbors(
            lambda rows: (to_users[rows] @ to_items).toarray(), len(dataset.items), self.neighbors
        )
        self.neighbor_offsets: NDArray[np.int64] = found.offsets
        self.neighbor_items: NDArray[np.int32] = found.items
        self.neighbor_weights: NDArray[np.float32] = found.weights

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        scores = sum_neighbors(
            queries.histories, self.neighbor_offsets, self.neighbor_items, self.neighbor_weights
        )
        return scores if items is None else scores[:, items]
