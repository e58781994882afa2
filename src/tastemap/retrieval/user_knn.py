"""User-based nearest neighbours."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.user_neighbors import sum_user_neighbors
from tastemap.retrieval.base import Retriever
from tastemap.training.run import Run

__all__ = ["UserKNN"]


class UserKNN(Retriever):
    """An item scores the sum of the similarities of those neighbours who chose it.

    The neighbours of a query are the `neighbors` users of the training data whose choices are most
    like its history (Resnick et al. 1994), so that a stranger's history finds neighbours too; a
    known user is no neighbour of their own. Similarity is the cosine of what was chosen (Herlocker
    et al. 1999), plain or with items weighted by log(users / popularity), so that a rare item in
    common says more ("tfidf"); a similarity that rests on n items in common is shrunk by the
    factor n / (n + shrinkage).

    Attributes:
        item_weights: float32 [item rows], what an item in common counts, before squaring.
        user_lengths: float32 [user rows], of the users' weighted choices.
        choice_offsets, choices: int64 [user rows + 1], int32 [m]; what user row u chose is the
            slice offsets[u]:offsets[u+1].
        voter_offsets, voters: int64 [item rows + 1], int32 [m]; by item, the users who chose it.
    """

    name: ClassVar[str] = "userknn"
    paper: ClassVar[str] = (
        "Resnick et al. 1994, GroupLens: An Open Architecture for Collaborative Filtering of "
        "Netnews (CSCW)"
    )
    learned: ClassVar[tuple[str, ...]] = (
        "item_weights",
        "user_lengths",
        "choice_offsets",
        "choices",
        "voter_offsets",
        "voters",
    )

    zero_is_no_evidence: ClassVar[bool] = True

    weighting: Literal["cosine", "tfidf"] = hyperparameter(
        default="tfidf", help="what an item in common says"
    )
    neighbors: int = hyperparameter(
        default=100, help="neighbours asked for each query", ge=1, le=100_000, log=True
    )
    shrinkage: float = hyperparameter(
        default=0.0, help="shrinks similarities that few items support", ge=0, search=(0.0, 100.0)
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        choices = dataset.histories.to_csr(len(dataset.items))
        weights = np.ones(len(dataset.items))
        if self.weighting == "tfidf":
            popularity = np.bincount(choices.indices, minlength=choices.shape[1])
            users = (np.diff(choices.indptr) > 0).sum()
            # Never quite 0, so that what everybody chose still makes neighbours.
            weights = np.log((1.0 + users) / np.maximum(popularity, 1)) + 1e-3
        self.item_weights: NDArray[np.float32] = weights.astype(np.float32)
        squares = choices @ self.item_weights.astype(np.float64) ** 2
        self.user_lengths: NDArray[np.float32] = np.sqrt(squares).astype(np.float32)
        voters = csr_array(choices.T)
        self.voter_offsets: NDArray[np.int64] = voters.indptr.astype(np.int64)
        self.voters: NDArray[np.int32] = voters.indices.astype(np.int32)
        self.choice_offsets: NDArray[np.int64] = choices.indptr.astype(np.int64)
        self.choices: NDArray[np.int32] = choices.indices.astype(np.int32)

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        known = queries.users < len(self.user_lengths)
        scores = sum_user_neighbors(
            queries.histories,
            np.where(known, queries.users, 0).astype(np.int32),
            (self.voter_offsets, self.voters),
            (self.choice_offsets, self.choices),
            self.user_lengths,
            self.item_weights,
            self.neighbors,
            self.shrinkage,
        )
        return scores if items is None else scores[:, items]
