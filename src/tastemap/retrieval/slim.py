"""SLIM: sparse linear weights between items."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.neighbors import sum_neighbors
from tastemap.kernels.slim import slim_weights
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.activity import damp_active_users
from tastemap.training.run import Run

__all__ = ["SLIM"]

# Beyond this the Gram matrix would take more than 10 GB.
_MAX_ITEMS = 50_000


class SLIM(Retriever):
    """Item-item weights W that best reproduce every history X from its other items, by few of them:

        min_W ½ |X - XW|² + ½ l2 |W|² + l1 sum(W)   with   W >= 0 and diag(W) = 0

    (Ning & Karypis 2011, equation 4), an elastic net for each item. The l1 penalty makes most
    weights 0, which is what is saved. With `neighbors` below the number of items, only the most
    similar items may speak for one (fsSLIM, section 4.4), which is faster. Users are weighted by
    (number of their items)^-`activity_exponent`, on average 1: 0 gives the published objective;
    above it people who chose nearly everything say less about what belongs together. A query
    scores xW.

    Attributes:
        neighbor_offsets: int64 [item rows + 1]; neighbor_items: int32 [m]; neighbor_weights:
            float32 [m]. What item row i adds to other items is the slice offsets[i]:offsets[i+1].
    """

    name: ClassVar[str] = "slim"
    paper: ClassVar[str] = (
        "Ning & Karypis 2011, SLIM: Sparse Linear Methods for Top-N Recommender Systems (ICDM)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "neighbor_offsets",
        "neighbor_items",
        "neighbor_weights",
    )

    zero_is_no_evidence: ClassVar[bool] = True

    l1: float = hyperparameter(default=1.0, help="penalty that makes weights 0", gt=0, log=True)
    l2: float = hyperparameter(default=200.0, help="L2 penalty", gt=0, log=True)
    activity_exponent: float = hyperparameter(
        default=0.5, help="how far active users count less", ge=0, le=1
    )
    neighbors: int = hyperparameter(
        default=100_000, help="most items that may speak for one", ge=1, le=100_000, log=True
    )
    tolerance: float = hyperparameter(
        default=1e-3, help="a weight that moves less is at rest", gt=0, log=True, tuned=False
    )
    sweeps: int = hyperparameter(
        default=10, help="most rounds of descent", ge=1, le=10_000, tuned=False
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        if dataset.n_items > _MAX_ITEMS:
            raise DataError(
                f"SLIM keeps a dense matrix of items × items while it learns, too large for "
                f"{dataset.n_items:,} items",
                remedy="Drop rare items (Dataset.filter(min_item_events=...)), or use IALSPP",
            )
        x = dataset.histories.to_csr(len(dataset.items))
        x = damp_active_users(x, self.activity_exponent)
        gram = (x.T @ x).toarray().astype(np.float32)
        weights = slim_weights(gram, self.l1, self.l2, self.neighbors, self.tolerance, self.sweeps)
        self.neighbor_offsets: NDArray[np.int64] = weights.indptr.astype(np.int64)
        self.neighbor_items: NDArray[np.int32] = weights.indices.astype(np.int32)
        self.neighbor_weights: NDArray[np.float32] = weights.data.astype(np.float32)

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        scores = sum_neighbors(
            queries.histories, self.neighbor_offsets, self.neighbor_items, self.neighbor_weights
        )
        return scores if items is None else scores[:, items]
