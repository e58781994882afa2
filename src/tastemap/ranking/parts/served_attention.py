"""Sequences of requests as their candidates see them, for a ranker at work."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.features.requests import RequestFeatures
from tastemap.nn.candidate_attention import DotAttention
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TableLayout, rows_of

__all__ = ["ServedAttention"]


class ServedAttention:
    """The vectors of sequences, by attention of the candidates: two products of matrices for each
    request, where a row for each event of each candidate would be looked up anew.

    Args:
        fields: that have learned, with a `DotAttention` for each sequence.
        features: of the kind that will be asked about; sequences are of requests, and what they are
            sequences of is of items or candidates.
    """

    def __init__(self, fields: Fields, features: RequestFeatures) -> None:
        sequences = features.schema.sequences
        before = TableLayout.of(features.schema).before
        names = [each.name for each in features.schema.categorical]
        shared = features.requests.categorical.shape[1]
        self._table = fields.table
        self._attentions = [each for each in fields.attentions if isinstance(each, DotAttention)]
        self._starts = np.array([before[each.name] for each in sequences], np.int64)
        self._columns = [names.index(each.of) - shared for each in sequences]

    def __call__(self, features: RequestFeatures) -> torch.Tensor:
        """float32 [m, sequences × dim], of all candidates."""
        of_items = features.items.categorical[features.places]
        columns = np.concatenate([of_items, features.pairs.categorical], 1)[:, self._columns]
        candidates = self._table(torch.from_numpy(rows_of(columns, self._starts)))
        found = torch.empty_like(candidates)
        for request, some in enumerate(features.slices()):
            for place, attention in enumerate(self._attentions):
                sequence = features.requests.sequences[place]
                taken = sequence.rows[sequence.offsets[request] : sequence.offsets[request + 1]]
                events = self._table(torch.from_numpy(taken[taken > 0] + self._starts[place]))
                found[some, place] = attention.attended(events, candidates[some, place])
        return found.flatten(1)
