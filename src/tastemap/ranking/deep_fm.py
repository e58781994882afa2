"""A factorization machine and a perceptron over the same vectors."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.factorization import pair_products
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

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


class DeepFM(DeepRanker):
    """All pairs of features by their vectors' products, and what a perceptron finds in the same
    vectors (Guo et al. 2017)."""

    name = "deepfm"
    paper = (
        "Guo et al. 2017, DeepFM: a factorization-machine based neural network for CTR prediction"
    )

    dim: int = hyperparameter(default=32, help="length of the vectors", ge=1, le=1024, log=True)
    regularization: float = hyperparameter(
        default=0.05, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-3, 0.3),
    )  # fmt: skip
    layer_rate: float = hyperparameter(
        default=0.03, help="step size of the layers, as a share of the vectors'", gt=0, log=True,
        search=(0.01, 1.0),
    )  # fmt: skip

    def make_network(self) -> DeepFMNetwork:
        deep = self.make_perceptron()
        return DeepFMNetwork(self.make_fields(self.dim), self.make_fields(1), deep, self.hidden)
