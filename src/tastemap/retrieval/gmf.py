"""Generalised matrix factorization: a dot product whose dimensions have learned weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.queries import Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.parts.ncf import NeuralCollaborativeFilter, Similarity, new_table

__all__ = ["GMF", "GMFNetwork"]


class GMFNetwork(Similarity):
    """h · (p ∘ q) + b.

    Args:
        n_users, n_items: rows.
        factors: length of p, q and h.
    """

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()
        self.users, self.items = new_table(n_users, factors), new_table(n_items, factors)
        self.output = nn.Linear(factors, 1)

    def user_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors * self.output.weight[0]

    def item_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors

    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return (users * items).sum(-1) + self.output.bias


class GMF(NeuralCollaborativeFilter, VectorRetriever):
    """A dot product of users and items whose dimensions have learned weights h.

        P(u chooses i) = σ(h · (p_u ∘ q_i))

    (He et al. 2017, equation 9), trained by Adam on binary cross-entropy against drawn items
    (equation 7). As in the authors' implementation the output has a bias; it orders nothing. Since
    h can move into p, GMF can express no more than a dot product does, but learns differently.
    """

    name: ClassVar[str] = "gmf"
    paper: ClassVar[str] = "He et al. 2017, Neural Collaborative Filtering (WWW)"

    network: GMFNetwork = assigned_by_fit()

    negatives: int = hyperparameter(
        default=4, help="items drawn for each that was chosen", ge=1, le=100
    )
    regularization: float = hyperparameter(
        default=0.0002, help="L2 penalty on the vectors", ge=0, log=True
    )

    score = VectorRetriever.score
    similarity = VectorRetriever.similarity

    def make_network(self) -> GMFNetwork:
        return GMFNetwork(len(self.users), len(self.items), self.factors)

    @torch.no_grad()
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        return self.network.user_keys(self.query_vectors(queries)).cpu().numpy()

    def item_vectors(self) -> NDArray[np.float32]:
        return self._item_keys.cpu().numpy()
