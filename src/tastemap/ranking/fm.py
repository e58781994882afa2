"""A factorization machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tastemap.nn.factorization import pair_products
from tastemap.nn.initializers import normal_
from tastemap.nn.numbers import NumberVectors
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork
from tastemap.ranking.parts.neural import NeuralRanker

__all__ = ["FM", "FMNetwork"]


class FMNetwork(RankingNetwork):
    """b + Σ w_i + pairs(v).

    Args:
        fields: the vectors v.
        first_order: vectors of length 1, the weights w.
        pairs: the sum of the products of all pairs, float [B] of vectors [B, fields, width].
    """

    def __init__(
        self,
        fields: Fields,
        first_order: Fields,
        pairs: Callable[[torch.Tensor], torch.Tensor] = pair_products,
    ) -> None:
        super().__init__(fields)
        self.first_order, self.pairs = first_order, pairs
        self.bias = nn.Parameter(torch.zeros(()))

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.first_order(batch).sum((1, 2))
        return self.bias + first + self.pairs(vectors)


class FM(NeuralRanker):
    """A weight for each feature, and the product of two vectors for each pair (Rendle 2010)."""

    name = "fm"
    paper = "Rendle 2010, Factorization machines"

    def make_network(self) -> RankingNetwork:
        return FMNetwork(self.make_fields(self.dim), self.make_fields(1))

    def make_numbers(self, dim: int) -> NumberVectors:
        """With first values as small as those of all other vectors: of products of pairs large ones
        are noise that takes long to forget."""
        numbers = super().make_numbers(dim)
        normal_(numbers.weight, 0.01)
        return numbers
