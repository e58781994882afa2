"""Item-based nearest neighbours."""

from __future__ import annotations

from typing import ClassVar, Literal

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

__all__ = ["ItemKNN"]


class ItemKNN(Retriever):
    """An item scores the sum of its similarities to the items of the history.

    Similarity is the cosine of the items' columns of the user-item matrix (Sarwar et al. 2001),
    plain, or with users weighted by inverse document frequency log(items / (1 + user's items)) so
    that a choosy user says more ("tfidf"), or with BM25 weights (Robertson et al. 1995; the
    dot product, as usual for BM25): each item is a document and its users are the terms. A pair
    that few users share is shrunk by the factor n / (n + shrinkage) (Bell & Koren 2007). Only the
    best `neighbors` of each item are kept.

    Attributes:
        neighbor_offsets: int64 [item rows + 1]; neighbor_items: int32 [m]; neighbor_weights:
            float32 [m]. The neighbours of item row i are the slice offsets[i]:offsets[i+1].
    """

    name: ClassVar[str] = "itemknn"
    paper: ClassVar[str] = (
        "Sarwar et al. 2001, Item-Based Collaborative Filtering Recommendation Algorithms (WWW)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "neighbor_offsets",
        "neighbor_items",
        "neighbor_weights",
    )

    zero_is_no_evidence: ClassVar[bool] = True

    weighting: Literal["cosine", "tfidf", "bm25"] = hyperparameter(
        default="bm25", help="how a user's vote for an item is weighted"
    )
    neighbors: int = hyperparameter(
        default=200, help="neighbours kept for each item", ge=1, le=100_000, log=True
    )
    shrinkage: float = hyperparameter(
        default=10.0, help="shrinks similarities that few users support", ge=0
    )
    bm25_k1: float = hyperparameter(default=1.2, help="BM25: saturation of repeated events", ge=0)
    bm25_b: float = hyperparameter(
        default=0.75, help="BM25: how far popular items are played down", ge=0, le=1
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        counts = dataset.histories.to_csr(len(dataset.items))
        weighted = self._weighted(counts)
        item_users = csr_array(weighted.T)
        item_users_counted = csr_array(counts.T)

        def similarities(rows: slice) -> NDArray[np.float32]:
            tile: NDArray[np.float32] = (item_users[rows] @ weighted).toarray()
            if self.shrinkage:
                shared = (item_users_counted[rows] @ counts).toarray()
                tile *= shared / (shared + self.shrinkage)
            return tile

        found = best_neighbors(similarities, len(dataset.items), self.neighbors)
        self.neighbor_offsets: NDArray[np.int64] = found.offsets
        self.neighbor_items: NDArray[np.int32] = found.items
        self.neighbor_weights: NDArray[np.float32] = found.weights

    def _weighted(self, counts: csr_array) -> csr_array:
        weighted = counts.astype(np.float32)
        users = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        if self.weighting != "cosine":
            idf = np.log(counts.shape[1] / (1.0 + np.diff(counts.indptr)))
            weighted.data *= np.maximum(idf, 0.0)[users].astype(np.float32)
        if self.weighting == "bm25":
            popularity = np.bincount(counts.indices, minlength=counts.shape[1])
            norm = 1.0 - self.bm25_b + self.bm25_b * popularity / popularity[popularity > 0].mean()
            saturation = (self.bm25_k1 + 1.0) / (self.bm25_k1 * norm + 1.0)
            weighted.data *= saturation[counts.indices].astype(np.float32)
            return weighted
        length = np.sqrt(np.bincount(weighted.indices, weighted.data**2, weighted.shape[1]))
        weighted.data /= np.maximum(length, 1e-12)[weighted.indices].astype(np.float32)
        return weighted

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        scores = sum_neighbors(
            queries.histories, self.neighbor_offsets, self.neighbor_items, self.neighbor_weights
        )
        return scores if items is None else scores[:, items]
