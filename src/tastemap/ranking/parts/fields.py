"""A vector for each feature of a row."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tastemap.features.schema import Schema
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
    """

    def __init__(
        self, schema: Schema, dim: int, numbers: NumberVectors, deviation: float = 0.01
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self._several = len(schema.multi_valued) + len(schema.sequences)
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
            means = functional.embedding_bag(
                rows, self.table.weight, offsets,
                mode="sum", per_sample_weights=weights, include_last_offset=True,
                sparse=self.table.sparse,
            )  # fmt: skip
            parts.append(means.view(len(batch), self._several, -1))
        if self._numeric:
            parts.append(self.numbers(batch.numbers))
        return torch.cat(parts, 1)
