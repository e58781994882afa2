"""The multi-layer perceptron of neural collaborative filtering: a similarity learned from data."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.retrieval.parts.ncf import NeuralCollaborativeFilter, Similarity, new_table

__all__ = ["NCFMLP", "MLPNetwork", "Tower"]


class Tower(nn.Module):
    """Hidden layers over [p; q], each half as wide as the one below.

    Args:
        factors: width of the last layer.
        layers: how many.

    Attributes:
        width: of the first layer, of p and of q: factors × 2^(layers - 1).
        of_user, of_item: the two halves of W_1, as W_1 [p; q] = W_p p + W_q q.
    """

    def __init__(self, factors: int, layers: int) -> None:
        super().__init__()
        widths = [factors << layer for layer in reversed(range(layers))]
        self.width = widths[0]
        self.of_user = nn.Linear(self.width, self.width)
        self.of_item = nn.Linear(self.width, self.width, bias=False)
        upper = list(map(nn.Linear, widths[:-1], widths[1:]))
        self.upper = nn.ModuleList(upper)
        # Glorot & Bengio 2010; for the halves of W_1 with the fans of the whole.
        bound = (6 / (3 * self.width)) ** 0.5
        nn.init.uniform_(self.of_user.weight, -bound, bound)
        nn.init.uniform_(self.of_item.weight, -bound, bound)
        nn.init.zeros_(self.of_user.bias)
        for layer in upper:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """z_L, [..., factors], of W_p p + b_1 and W_q q, [..., width] each and broadcast."""
        z = (users + items).relu()
        for layer in self.upper:
            z = layer(z).relu()
        return z


class MLPNetwork(Similarity):
    """h · z_L + b, with z_L by a `Tower` over [p; q].

    Args:
        n_users, n_items: rows.
        factors, layers: of the tower.
    """

    def __init__(self, n_users: int, n_items: int, factors: int, layers: int) -> None:
        super().__init__()
        self.tower = Tower(factors, layers)
        self.users = new_table(n_users, self.tower.width)
        self.items = new_table(n_items, self.tower.width)
        self.output = nn.Linear(factors, 1)

    def user_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        keys: torch.Tensor = self.tower.of_user(vectors)
        return keys

    def item_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        keys: torch.Tensor = self.tower.of_item(vectors)
        return keys

    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.output(self.tower(users, items))
        return logits.squeeze(-1)


class NCFMLP(NeuralCollaborativeFilter):
    """A perceptron over the vectors of user and item, in place of their dot product.

        z_1 = ReLU(W_1 [p_u; q_i] + b_1),  …,  z_L = ReLU(W_L z_{L-1} + b_L)
        P(u chooses i) = σ(h · z_L)

    (He et al. 2017, equation 10), a tower in which each layer is half as wide as the one below: z_L
    has the predictive `factors`, p and q have factors × 2^(L-1). Trained by Adam on binary
    cross-entropy against drawn items (equation 7). As in the authors' implementation the output has
    a bias, which orders nothing, and the layers begin as Glorot & Bengio's do.
    """

    name: ClassVar[str] = "ncfmlp"
    paper: ClassVar[str] = "He et al. 2017, Neural Collaborative Filtering (WWW)"

    network: MLPNetwork = assigned_by_fit()

    factors: int = hyperparameter(
        default=16, help="predictive factors: width of the last hidden layer", ge=1, log=True
    )
    layers: int = hyperparameter(
        default=3, help="hidden layers, each half as wide as the one below", ge=1, le=8
    )

    def make_network(self) -> MLPNetwork:
        return MLPNetwork(len(self.users), len(self.items), self.factors, self.layers)
