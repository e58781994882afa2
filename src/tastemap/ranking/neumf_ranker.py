"""A product of user and item beside a perceptron over all features."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.errors import SchemaError, did_you_mean
from tastemap.hyperparameters import hyperparameter
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["NeuMFRanker"]


class NeuMFNetwork(RankingNetwork):
    """h · [p_u ∘ q_i; MLP([v_1; …; v_n])] + b (eq. 12, with more features than user and item).

    Args:
        fields: vectors whose first half are p and q, and whose second half are v: both parts learn
            vectors of their own.
        user, item: the places of their features among the categorical ones.
        deep: the perceptron, over all v in one.
        width: of p and of what it gives, together.
    """

    def __init__(self, fields: Fields, user: int, item: int, deep: nn.Module, width: int) -> None:
        super().__init__(fields)
        self.user, self.item, self.deep = user, item, deep
        self.output = nn.Linear(width, 1)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        factors, v = vectors.chunk(2, 2)
        product = factors[:, self.user] * factors[:, self.item]
        found: torch.Tensor = self.output(torch.cat([product, self.deep(v.flatten(1))], 1))
        return found.squeeze(1)


class NeuMFRanker(DeepRanker):
    """Generalized matrix factorization, and a perceptron which here gets all features and not only
    user and item (He et al. 2017).

    Raises:
        SchemaError: when it is fitted, where user or item is no categorical feature.
    """

    name = "neumfranker"
    paper = "He et al. 2017, Neural collaborative filtering"

    user: str = hyperparameter(default="user", help="the feature that says who", tuned=False)
    item: str = hyperparameter(default="item", help="the feature that says what", tuned=False)

    def make_network(self) -> NeuMFNetwork:
        return NeuMFNetwork(
            self.make_fields(2 * self.dim),
            self._place(self.user, "user"),
            self._place(self.item, "item"),
            self.make_perceptron(),
            self.dim + self.hidden,
        )

    def _place(self, name: str, role: str) -> int:
        names = [feature.name for feature in self.schema.categorical]
        if name not in names:
            raise SchemaError(
                f"NeuMFRanker multiplies the vectors of user and item, and there is no categorical "
                f"feature {name!r}{did_you_mean(name, names)}; name it with {role}="
            )
        return names.index(name)
