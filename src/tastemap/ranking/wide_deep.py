"""A linear model over crossed features beside a perceptron."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import nn

from tastemap.features.schema import Schema
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.ftrl import FTRL
from tastemap.nn.hashed_table import mix
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TableLayout, TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["WideDeep"]


class Crosses(nn.Module):
    """A weight for each pair of values of two categorical features: "AND(gender=f, language=en)".

    Pairs are hashed into one table. A pair with an unknown value has no weight.

    Args:
        schema: the features.
        rows: of the table.
    """

    left: torch.Tensor
    right: torch.Tensor

    def __init__(self, schema: Schema, rows: int) -> None:
        super().__init__()
        pairs = list(combinations(range(len(schema.categorical)), 2))
        for name, which in (("left", 0), ("right", 1)):
            places = torch.tensor([pair[which] for pair in pairs], dtype=torch.long)
            self.register_buffer(name, places, persistent=False)
        self.values = TableLayout.of(schema).rows
        self.table = EmbeddingTable(rows, 1, initialize=nn.init.zeros_)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The sum of the pairs' weights, float32 [B], of rows int64 [B, categorical]."""
        left, right = rows[:, self.left], rows[:, self.right]
        # Rows of the shared table tell features apart, so that one hash does for all pairs.
        hashed = mix(left * self.values + right, 0) % (len(self.table.weight) - 1) + 1
        found: torch.Tensor = self.table(torch.where((left > 0) & (right > 0), hashed, 0))
        return found.sum((1, 2))


class WideDeepNetwork(RankingNetwork):
    """Σ w_i + Σ_pairs w_ij + MLP([v_1; …; v_n]) + b.

    Args:
        fields: the vectors v.
        first_order: vectors of length 1, the weights w_i.
        crosses: the weights w_ij.
        deep: the perceptron, over all vectors in one.
        width: of what it gives.
    """

    def __init__(
        self, fields: Fields, first_order: Fields, crosses: Crosses, deep: nn.Module, width: int
    ) -> None:
        super().__init__(fields)
        self.wide = nn.ModuleDict({"first_order": first_order, "crosses": crosses})
        self.deep, self.output = deep, nn.Linear(width, 1)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        first: torch.Tensor = self.wide["first_order"](batch).sum((1, 2))
        deep: torch.Tensor = self.output(self.deep(vectors.flatten(1))).squeeze(1)
        pairs: torch.Tensor = self.wide["crosses"](batch.rows)
        return first + pairs + deep


class WideDeep(DeepRanker):
    """What pairs of values are remembered for, and what a perceptron makes of their vectors,
    trained together: FTRL with L1 for the linear part, AdaGrad for the deep one (Cheng et al.
    2016).

    The paper chooses by hand which features are crossed; here all pairs of categorical ones are.
    """

    name = "widedeep"
    paper = "Cheng et al. 2016, Wide & deep learning for recommender systems"
    # Both optimizers lower their own steps.
    rate_falls = False

    cross_rows: int = hyperparameter(
        default=1 << 18, help="rows of the table that pairs of values are hashed into", ge=2,
        tuned=False,
    )  # fmt: skip
    wide_rate: float = hyperparameter(default=0.1, help="FTRL's step size, α", gt=0, log=True)
    l1: float = hyperparameter(
        default=1e-3, help="FTRL's, which leaves weights at 0", ge=0, log=True, search=(1e-5, 1.0)
    )
    layer_rate: float = hyperparameter(
        default=0.3, help="step size of the layers, as a share of the vectors'", gt=0, log=True,
        search=(0.01, 1.0),
    )  # fmt: skip
    learning_rate: float = hyperparameter(default=0.05, help="AdaGrad's step size", gt=0, log=True)

    def make_network(self) -> WideDeepNetwork:
        return WideDeepNetwork(
            self.make_fields(self.dim),
            self.make_fields(1),
            Crosses(self.schema, self.cross_rows),
            self.make_perceptron(),
            self.hidden,
        )

    def optimizers(self, network: RankingNetwork) -> list[torch.optim.Optimizer]:
        """FTRL for the wide part, AdaGrad for the deep one."""
        parts = [each for each in network.modules() if isinstance(each, WideDeepNetwork)]
        wide = [weight for part in parts for weight in part.wide.parameters()]
        kept = {id(weight) for weight in wide}
        vectors = list(network.fields.parameters())
        kept |= {id(weight) for weight in vectors}
        layers = [weight for weight in network.parameters() if id(weight) not in kept]
        return [
            FTRL(wide, self.wide_rate, l1=self.l1),
            torch.optim.Adagrad(vectors, lr=self.learning_rate),
            torch.optim.Adagrad(layers, lr=self.learning_rate * self.layer_rate),
        ]
