"""Sequences of requests as their candidates see them, for a ranker at work."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.features.requests import RequestFeatures
from tastemap.features.schema import Categorical
from tastemap.nn.candidate_attention import DotAttention
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TableLayout

__all__ = ["ServedAttention"]


class ServedAttention:
    """The vectors of sequences, by attention of the candidates: two products of matrices for each
    request, where a row for each event of each candidate would be looked up anew.

    Args:
        fields: that have learned, with a `DotAttention` for each sequence.
        features: of the kind that will be asked about; sequences are of requests, and what they are
            sequences of is of items.
    """

    def __init__(self, fields: Fields, features: RequestFeatures) -> None:
        sequences = features.schema.sequences
        before = TableLayout.of(features.schema).before
        of_items = features.items.block.features
        names = [each.name for each in of_items if isinstance(each, Categorical)]
        self._table = fields.table
        self._attentions = [each for each in fields.attentions if isinstance(each, DotAttention)]
        self._starts = [before[each.name] for each in sequences]
        # The vectors of categorical features stand first, in their order.
        self._dim = dim = fields.dim
        looked_for = list(dict.fromkeys(each.of for each in sequences))
        self._features = [
            slice(at * dim, at * dim + dim) for at in (names.index(each) for each in looked_for)
        ]
        self._wanted = [looked_for.index(each.of) for each in sequences]

    def __call__(
        self, features: RequestFeatures, items: NDArray[np.float32], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """float32 [m, sequences × dim], of all candidates.

        Args:
            items: float32 [k, item's width], as `ServedFields` makes them.
            places: int64 [m], which of them each candidate is.
        """
        found = np.empty((len(places), len(self._attentions), self._dim), np.float32)
        of_items, into = torch.from_numpy(items), torch.from_numpy(found)
        rows = torch.from_numpy(places)
        # Of each item the vectors alone that are looked for, which sequences of one feature share.
        wanted = [of_items[:, each].index_select(0, rows) for each in self._features]
        for request, some in enumerate(features.slices()):
            for place, attention in enumerate(self._attentions):
                lists = features.requests.sequences[place]
                taken = lists.rows[lists.offsets[request] : lists.offsets[request + 1]]
                events = self._table(torch.from_numpy(taken[taken > 0] + self._starts[place]))
                candidates = wanted[self._wanted[place]][some]
                into[some, place] = attention.attended(events, candidates)
        return found.reshape(len(places), len(self._attentions) * self._dim)
