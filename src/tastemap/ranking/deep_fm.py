"""A factorization machine and a perceptron over the same vectors."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.factorization import pair_products
from tastemap.nn.perceptron import perceptron
from tastemap.ranking.parts.fields import Fields, field_count
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.neural import NeuralRanker, RankingNetwork

__all__ = ["DeepFM"]


class DeepFMNetwork(RankingNetwork):
    """b + Σ w_i + Σ_{i<j} <v_i, v_j> + MLP([v_1; …; v_n]).

    Args:
        fields: the vectors v.
        first_order: vectors of length 1, the weights w.
        deep: the perceptron, over all vectors in one.
        width: of what it gives.
    """

    def __init__(self, fields: Fields, first_order: Fields, deep: nn.Module, width: int) -> None:
        super().__init__(fields)
        self.first_order, self.deep = first_order, deep
        self.output = nn.Linear(width, 1)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.first_order(batch).sum((1, 2))
        deep: torch.Tensor = self.output(self.deep(vectors.flatten(1))).squeeze(1)
        return first + pair_products(vectors) + deep


class DeepFM(NeuralRanker):
    """All pairs of features by their vectors' products, and what a perceptron finds in the same
    vectors (Guo et al. 2017).
    """

    name = "deepfm"
    paper = (
        "Guo et al. 2017, DeepFM: a factorization-machine based neural network for CTR prediction"
    )

    dim: int = hyperparameter(default=16, help="length of the vectors", ge=1, le=1024, log=True)
    hidden: int = hyperparameter(default=128, help="width of each hidden layer", ge=1, log=True)
    layers: int = hyperparameter(default=2, help="hidden layers", ge=1, le=8)
    dropout: float = hyperparameter(default=0.2, help="of the hidden units", ge=0, lt=1)

    def make_network(self) -> DeepFMNetwork:
        fields = Fields(self.schema, self.dim, self.make_numbers(self.dim))
        first_order = Fields(self.schema, 1, self.make_numbers(1))
        width = field_count(self.schema) * self.dim
        deep = perceptron(width, self.hidden, self.layers, self.dropout)
        return DeepFMNetwork(fields, first_order, deep, self.hidden)
