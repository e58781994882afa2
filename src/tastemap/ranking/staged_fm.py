"""What is known of the past first, and then who and what."""

from __future__ import annotations

from collections.abc import Sequence as Places

import torch
from torch import nn

from tastemap.features.schema import Categorical, Feature, MultiValued, Numeric, Sequence
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.factorization import pair_products
from tastemap.ranking.fm import FM
from tastemap.ranking.parts.fields import Fields, in_order
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["StagedFM"]


class StagedFMNetwork(RankingNetwork):
    """The mean of the log-odds g and h, of which each learns by its own loss, and so does f:

        f = b + Σ_{i∈K} w_i + Σ_{i<j∈K} <v_i, v_j>     of what is known of the past
        g = f + Σ_{i<j∈P} <u_i, u_j>                   and what ids and lists add, f a constant
        h = b' + Σ_{i∈V} w'_i + Σ_{i<j∈V} <t_i, t_j>   of values alone, without numbers

    Args:
        fields: the vectors [v; u; t], all in one.
        known_order, value_order: vectors of length 1, the weights w and w'.
        known, paired, values: the places K, P and V among the fields.
    """

    known: torch.Tensor
    paired: torch.Tensor
    values: torch.Tensor

    def __init__(
        self,
        fields: Fields,
        known_order: Fields,
        value_order: Fields,
        *,
        known: Places[int],
        paired: Places[int],
        values: Places[int],
    ) -> None:
        super().__init__(fields)
        self.known_order, self.value_order = known_order, value_order
        self.bias = nn.Parameter(torch.zeros(2))
        for name, places in (("known", known), ("paired", paired), ("values", values)):
            self.register_buffer(name, torch.tensor(places, dtype=torch.long), persistent=False)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        """f, g and h, float32 [B, 3]."""
        v, u, t = vectors.chunk(3, -1)
        first = self.bias[0] + _sum(self.known_order(batch), v, self.known)
        second = first.detach() + pair_products(u.index_select(1, self.paired))
        apart = self.bias[1] + _sum(self.value_order(batch), t, self.values)
        return torch.stack([first, second, apart], -1)

    def said(self, scores: torch.Tensor) -> Places[torch.Tensor]:
        return scores.unbind(-1)

    def answer(self, scores: torch.Tensor) -> torch.Tensor:
        return scores[..., 1:].mean(-1)


def _sum(weights: torch.Tensor, vectors: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Σ w_i + Σ_{i<j} <v_i, v_j> over some places, float32 [B], of weights [B, fields, 1] and
    vectors [B, fields, dim]."""
    first = weights.index_select(1, places).sum((1, 2))
    return first + pair_products(vectors.index_select(1, places))


class StagedFM(FM):
    """A factorization machine in two stages, for rows with totals of what came before them, such as
    how many people had this item by then and which share of them liked it.

    In one model totals and ids get into each other's way. A training row's totals leave out its
    own label and all later ones, and the weight of an id is fitted to just these: where that has
    been learned by heart, a higher total of the past means that less is left for the present, and
    totals get the wrong sign. On later rows totals know the training labels, which weights of ids
    then count a second time. So what is no id foretells first, alone; and of ids the products of
    their vectors with each other's and those of lists are fitted to what is left, without weights
    (boosting in two steps that learn side by side: the first one's log-odds are a constant to the
    second's loss). Beside these an ordinary factorization machine learns from all but numbers, and
    the answer is the mean of the log-odds of both.
    """

    name = "stagedfm"
    paper = (
        "Rendle 2010, Factorization machines; Friedman 2001, Greedy function approximation: a "
        "gradient boosting machine"
    )

    ids_from: int = hyperparameter(
        default=100, help="a categorical feature with at least so many values is an id, of which "
        "the first stage knows nothing", ge=2, tuned=False,
    )  # fmt: skip

    def make_network(self) -> StagedFMNetwork:
        features = in_order(self.schema)
        places = range(len(features))
        ids = {place for place in places if self._is_id(features[place])}
        lists = {place for place in places if isinstance(features[place], MultiValued | Sequence)}
        return StagedFMNetwork(
            self.make_fields(3 * self.dim),
            self.make_fields(1),
            self.make_fields(1),
            known=[place for place in places if place not in ids],
            paired=sorted(ids | lists),
            values=[place for place in places if not isinstance(features[place], Numeric)],
        )

    def _is_id(self, feature: Feature) -> bool:
        return isinstance(feature, Categorical) and feature.size > self.ids_from
