"""Cross layers with gates, before or beside a perceptron."""

from __future__ import annotations

from typing import Literal

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.cross import GatedCrossLayer
from tastemap.ranking.dcn_v2 import Crosses, ParallelNetwork, StackedNetwork
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["GDCN"]


class GDCN(DeepRanker):
    """DCN-v2 whose cross layers have a gate each, which lets through the products that matter, so
    that more layers do no harm (Wang et al. 2023)."""

    name = "gdcn"
    paper = (
        "Wang et al. 2023, Towards deeper, lighter and interpretable cross network for CTR "
        "prediction"
    )

    structure: Literal["stacked", "parallel"] = hyperparameter(
        default="parallel", help="the perceptron stands on the cross layers, or beside them"
    )
    cross_layers: int = hyperparameter(default=3, help="cross layers", ge=1, le=16)

    def make_network(self) -> RankingNetwork:
        fields, deep = self.make_fields(self.dim), self.make_perceptron()
        crosses = Crosses([GatedCrossLayer(self.input_width) for _ in range(self.cross_layers)])
        if self.structure == "stacked":
            return StackedNetwork(fields, crosses, deep, self.hidden)
        return ParallelNetwork(fields, crosses, deep, self.input_width + self.hidden)
