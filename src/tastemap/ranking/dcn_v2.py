"""Cross layers over all vectors, before or beside a perceptron."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.features.requests import RequestFeatures
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.candidate_attention import DotAttention
from tastemap.nn.cross import CrossLayer, MixtureCrossLayer
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork
from tastemap.ranking.parts.served_crosses import ServedCrosses

__all__ = ["DCNv2"]


class Crosses(nn.Module):
    """Cross layers one after the other, float [B, width] to [B, width].

    Args:
        layers: each takes the first x and its own.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, first: torch.Tensor) -> torch.Tensor:
        x = first
        for layer in self.layers:
            x = layer(first, x)
        return x


class CrossNetwork(RankingNetwork):
    """Cross layers and a perceptron over all vectors in one, x_0.

    Args:
        fields: the vectors.
        crosses, deep: the layers.
        width: of what `joined` gives.
    """

    def __init__(self, fields: Fields, crosses: nn.Module, deep: nn.Module, width: int) -> None:
        super().__init__(fields)
        self.crosses, self.deep = crosses, deep
        self.output = nn.Linear(width, 1)

    @abstractmethod
    def joined(self, x: torch.Tensor) -> torch.Tensor:
        """What both find in x_0, float [B, width] of [B, fields × dim]."""

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.output(self.joined(vectors.flatten(1)))
        return found.squeeze(1)


class StackedNetwork(CrossNetwork):
    """w · MLP(crosses(x_0)) + b (the paper's figure 1a)."""

    def joined(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.deep(self.crosses(x))
        return found


class ParallelNetwork(CrossNetwork):
    """w · [crosses(x_0); MLP(x_0)] + b (the paper's figure 1b)."""

    def joined(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.crosses(x), self.deep(x)], 1)


class DCNv2(DeepRanker):
    """Layers that multiply all features with all features, and a perceptron (Wang et al. 2021)."""

    name = "dcnv2"
    paper = "Wang et al. 2021, DCN V2: improved deep & cross network for web-scale learning to rank"

    regularization: float = hyperparameter(
        default=0.001, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-4, 0.3),
    )  # fmt: skip
    layer_rate: float = hyperparameter(
        default=0.05, help="step size of the layers, as a share of the vectors'", gt=0, log=True,
        search=(0.01, 1.0),
    )  # fmt: skip
    structure: Literal["stacked", "parallel"] = hyperparameter(
        default="parallel", help="the perceptron stands on the cross layers, or beside them"
    )
    cross_layers: int = hyperparameter(default=2, help="cross layers", ge=1, le=8)
    rank: int | None = hyperparameter(
        default=None, help="of the cross layers' matrices; none for full ones", ge=1
    )
    experts: int = hyperparameter(
        default=4, help="with a rank: experts that a gate mixes in each cross layer", ge=1, le=64
    )

    history: Literal["mean", "dot"] = hyperparameter(
        default="mean", help="how the events of a sequence become one vector: by their mean, or by "
        "attention, a softmax of products with the candidate"
    )  # fmt: skip

    _served: ServedCrosses | None = None

    def make_network(self) -> RankingNetwork:
        attention = (lambda: DotAttention(self.dim)) if self.history == "dot" else None
        fields = self.make_fields(self.dim, attention)
        deep = self.make_perceptron()
        crosses = Crosses([self._cross_layer() for _ in range(self.cross_layers)])
        if self.structure == "stacked":
            return StackedNetwork(fields, crosses, deep, self.hidden)
        return ParallelNetwork(fields, crosses, deep, self.input_width + self.hidden)

    def score_requests(self, features: RequestFeatures) -> NDArray[np.float32]:
        self._check_schema(features.schema)
        network = self.network
        if self.rank is not None or not isinstance(network, ParallelNetwork):
            return super().score_requests(features)
        if self._served is None or self._served.network is not network:
            self._served = ServedCrosses(network, features)
        return self._served(features)

    def _cross_layer(self) -> nn.Module:
        if self.rank is None:
            return CrossLayer(self.input_width)
        return MixtureCrossLayer(self.input_width, self.rank, self.experts)
