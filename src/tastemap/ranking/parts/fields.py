"""A vector for each feature of a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tastemap.features.schema import Schema
from tastemap.nn.candidate_attention import CandidateAttention
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.initializers import normal_
from tastemap.nn.numbers import NumberVectors
from tastemap.ranking.parts.inputs import TableLayout, TensorBatch

__all__ = ["Fields", "field_count"]

# In a smaller table a step over all rows costs less than finding those of a batch.
_SPARSE_FROM = 100_000


def field_count(schema: Schema) -> int:
    """How many vectors a row has: one a feature."""
    return len(schema.features)


class Fields(nn.Module):
    """A vector for each feature: a row of one table that all categorical features share, the mean
    of such rows for multi-valued features and sequences, and an encoded number.

    An unknown value has the vector 0, and so has a list without any known value.

    Args:
        schema: the features.
        dim: length of the vectors.
        numbers: makes vectors of the numeric features.
        deviation: of the table's first values.
        attention: makes what weighs the events of a sequence, in place of the mean, for a candidate
            that is the value of the feature that the sequence is of; one for each sequence.
    """

    def __init__(
        self,
        schema: Schema,
        dim: int,
        numbers: NumberVectors,
        deviation: float = 0.01,
        attention: Callable[[], CandidateAttention] | None = None,
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self._several = len(schema.multi_valued) + len(schema.sequences)
        self._before_sequences = len(schema.multi_valued)
        places = {feature.name: place for place, feature in enumerate(schema.categorical)}
        self._candidates = [places[sequence.of] for sequence in schema.sequences]
        made = () if attention is None else (attention() for _ in schema.sequences)
        self.attentions = nn.ModuleList(made)
        self._numeric = len(schema.numeric)
        rows = TableLayout.of(schema).rows
        self.table = EmbeddingTable(
            rows, dim, sparse=rows >= _SPARSE_FROM,
            initialize=lambda table: normal_(table, deviation),
        )  # fmt: skip

    def forward(self, batch: TensorBatch) -> torch.Tensor:
        """float32 [B, fields, dim]: the categorical features, the multi-valued ones, the sequences,
        the numeric ones, each in the schema's order."""
        parts = [self.table(batch.rows)]
        if batch.bags is not None:
            offsets, rows, weights = batch.bags
            if self.attentions:
                weights = self._attended(parts[0], offsets, rows, weights)
            means = functional.embedding_bag(
                rows, self.table.weight, offsets,
                mode="sum", per_sample_weights=weights, include_last_offset=True,
                sparse=self.table.sparse,
            )  # fmt: skip
            parts.append(means.view(len(batch), self._several, -1))
        if self._numeric:
            parts.append(self.numbers(batch.numbers))
        return torch.cat(parts, 1)

    def of_values(self) -> list[nn.Parameter]:
        """What vectors of values are made of: all but what weighs events."""
        return [*self.table.parameters(), *self.numbers.parameters()]

    def _attended(
        self,
        vectors: torch.Tensor,
        offsets: torch.Tensor,
        rows: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        """The weights of all entries of the bags, float32 [m], those of sequences by attention.

        Args:
            vectors: float32 [B, categorical, dim].
        """
        bags = torch.arange(len(offsets) - 1, device=rows.device)
        of = torch.repeat_interleave(bags, offsets.diff())
        for number, (candidate, attention) in enumerate(
            zip(self._candidates, self.attentions, strict=True)
        ):
            here = (of % self._several == self._before_sequences + number).nonzero().squeeze(1)
            events = self.table(rows.index_select(0, here))
            owners = of.index_select(0, here) // self._several
            attended = attention(events, vectors[:, candidate], owners)
            weights = weights.index_copy(0, here, attended)
        return weights
