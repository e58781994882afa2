"""A field-aware factorization machine."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.field_aware import field_aware_products
from tastemap.ranking.parts.fields import Fields, field_count
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.neural import NeuralRanker, RankingNetwork

__all__ = ["FFM"]


class FFMNetwork(RankingNetwork):
    """b + Σ w_i + Σ_{i<j} <v_{i,j}, v_{j,i}>.

    Args:
        fields: for each feature the vectors v for all features, one after the other.
        first_order: vectors of length 1, the weights w.
    """

    def __init__(self, fields: Fields, first_order: Fields) -> None:
        super().__init__(fields)
        self.first_order = first_order
        self.bias = nn.Parameter(torch.zeros(()))

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        n, fields, _ = vectors.shape
        first: torch.Tensor = self.first_order(batch).sum((1, 2))
        pairs = field_aware_products(vectors.view(n, fields, fields, -1))
        return self.bias + first + pairs


class FFM(NeuralRanker):
    """As FM, but each value has a vector of its own for each other feature (Juan et al. 2016).

    The weights w, which the paper leaves out and LIBFFM's readers add, are there. Adam takes the
    place of AdaGrad.
    """

    name = "ffm"
    paper = "Juan et al. 2016, Field-aware factorization machines for CTR prediction"

    regularization: float = hyperparameter(
        default=0.02, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-3, 0.3),
    )  # fmt: skip
    dim: int = hyperparameter(default=4, help="length of the vectors", ge=1, le=256, log=True)

    def make_network(self) -> FFMNetwork:
        width = field_count(self.schema) * self.dim
        return FFMNetwork(self.make_fields(width), self.make_fields(1))
