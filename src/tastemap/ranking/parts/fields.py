"""A vector for each feature of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.features.batch import FeatureBatch
from tastemap.features.schema import Feature, Schema
from tastemap.nn.candidate_attention import CandidateAttention
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.initializers import normal_
from tastemap.nn.numbers import NumberVectors
from tastemap.nn.projected import ProjectedVectors
from tastemap.nn.row_sums import side_by_side
from tastemap.nn.shared_tables import HashedTables, MultiplexedTable, SharedTable
from tastemap.ranking.parts.inputs import TableLayout, TensorBatch

__all__ = ["Fields", "Tables", "field_count", "in_order"]

# In a smaller table a step over all rows costs less than finding those of a batch.
_SPARSE_FROM = 100_000


def field_count(schema: Schema) -> int:
    """How many vectors a row has: one a feature."""
    return len(schema.features)


def in_order(schema: Schema) -> list[Feature]:
    """The features in the order in which `Fields` gives their vectors."""
    return [
        *schema.categorical, *schema.multi_valued, *schema.sequences, *schema.numeric,
        *schema.vectors,
    ]  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """How the values of all categorical features share the rows of a table.

    Attributes:
        kind: "separate", a row for each value; "hashed", at most `rows`, feature by feature; or
            "multiplexed", `rows` that all features share.
        rows: of the table, each as long as a vector.
        lookups: multiplexed: parts of a vector, each a row of its own.
    """

    kind: Literal["separate", "hashed", "multiplexed"] = "separate"
    rows: int = 1
    lookups: int = 1

    def made(
        self, schema: Schema, dim: int, initialize: Callable[[torch.Tensor], object]
    ) -> EmbeddingTable | SharedTable:
        """The table of vectors of some length.

        Raises:
            ParameterError: `rows` are fewer than features, or `dim` is no multiple of `lookups`.
        """
        layout = TableLayout.of(schema)
        sparse = (layout.rows if self.kind == "separate" else self.rows) >= _SPARSE_FROM
        match self.kind:
            case "separate":
                return EmbeddingTable(layout.rows, dim, sparse=sparse, initialize=initialize)
            case "hashed":
                sizes = layout.sizes
                return HashedTables(sizes, self.rows, dim, sparse=sparse, initialize=initialize)
            case "multiplexed":
                # A weight alone cannot be cut into parts.
                lookups = self.lookups if dim > 1 else 1
                return MultiplexedTable(
                    self.rows, dim, lookups, sparse=sparse, initialize=initialize
                )


class Fields(nn.Module):
    """A vector for each feature: a row of one table that all categorical features share, the mean
    of such rows for multi-valued features and sequences, an encoded number, and the projection of a
    given vector.

    An unknown value has the vector 0, and so has a list without any known value.

    Args:
        schema: the features.
        dim: length of the vectors.
        numbers: makes vectors of the numeric features.
        tables: how values share rows.
        deviation: of the table's first values.
        attention: makes what weighs the events of a sequence, in place of the mean, for a candidate
            that is the value of the feature that the sequence is of; one for each sequence.
    """

    def __init__(
        self,
        schema: Schema,
        dim: int,
        numbers: NumberVectors,
        tables: Tables | None = None,
        deviation: float = 0.01,
        attention: Callable[[], CandidateAttention] | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.numbers = numbers
        self._several = len(schema.multi_valued) + len(schema.sequences)
        self._before_sequences = len(schema.multi_valued)
        places = {feature.name: place for place, feature in enumerate(schema.categorical)}
        self._candidates = [places[sequence.of] for sequence in schema.sequences]
        made = () if attention is None else (attention() for _ in schema.sequences)
        self.attentions = nn.ModuleList(made)
        self._numeric = len(schema.numeric)
        self.given = nn.ModuleList(
            ProjectedVectors(feature.size, dim, deviation) for feature in schema.vectors
        )
        chosen = Tables() if tables is None else tables
        self.table = chosen.made(schema, dim, lambda table: normal_(table, deviation))

    def forward(self, batch: TensorBatch) -> torch.Tensor:
        """float32 [B, fields, dim], of the features as they stand `in_order`."""
        others = [self.numbers(batch.numbers)] if self._numeric else []
        for project, vectors in zip(self.given, batch.vectors, strict=True):
            others.append(project(vectors)[:, None])
        table = self.table
        if isinstance(table, EmbeddingTable) and table.compiled and not self.attentions:
            return side_by_side(table.weight, batch.rows, batch.bags, others)
        parts = [table(batch.rows)]
        if batch.bags is not None:
            offsets, rows, weights = batch.bags
            if self.attentions:
                weights = self._attended(parts[0], offsets, rows, weights)
            means = table.bags(offsets, rows, weights)
            parts.append(means.view(len(batch), self._several, -1))
        return torch.cat([*parts, *others], 1)

    def of_values(self) -> list[nn.Parameter]:
        """What vectors of values are made of: all but what weighs events."""
        parts = self.table, self.numbers, self.given
        return [parameter for part in parts for parameter in part.parameters()]

    def look_at(self, features: FeatureBatch, worth: NDArray[np.float32]) -> None:
        """Takes what the encodings need to know of training rows; `worth` [n] is their label."""
        self.numbers.look_at(torch.from_numpy(features.numeric), torch.from_numpy(worth))
        for project, vectors in zip(self.given, features.vectors, strict=True):
            assert isinstance(project, ProjectedVectors)
            project.look_at(torch.from_numpy(vectors))

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
