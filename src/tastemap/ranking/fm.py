"""A factorization machine."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.nn.factorization import pair_products
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.neural import NeuralRanker, RankingNetwork

__all__ = ["FM"]


class FMNetwork(RankingNetwork):
    """b + Σ w_i + Σ_{i<j} <v_i, v_j>.

    Args:
        fields: the vectors v.
        first_order: vectors of length 1, the weights w.
    """

    def __init__(self, fields: Fields, first_order: Fields) -> None:
        super().__init__(fields)
        self.first_order = first_order
        self.bias = nn.Parameter(torch.zeros(()))

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.first_order(batch).sum((1, 2))
        return self.bias + first + pair_products(vectors)


class FM(NeuralRanker):
    """A weight for each feature, and the product of two vectors for each pair (Rendle 2010)."""

    name = "fm"
    paper = "Rendle 2010, Factorization machines"

    def make_network(self) -> FMNetwork:
        return FMNetwork(self.make_fields(self.dim), self.make_fields(1))
