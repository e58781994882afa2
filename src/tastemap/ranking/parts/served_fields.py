"""Vectors of the features that requests have, or their candidates, for a ranker at work."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.features.block import Block
from tastemap.features.schema import (
    Categorical,
    Feature,
    MultiValued,
    Numeric,
    Schema,
    Sequence,
    Vector,
)
from tastemap.kernels.piecewise import interpolated, located
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TableLayout, side_by_side
from tastemap.ranking.parts.served_layer import ServedLayer, Vectors

__all__ = ["ServedFields"]


class ServedFields:
    """Some of the vectors that `Fields` make.

    Args:
        fields: that have learned.
        schema: all features.
        wanted: the features whose vectors these are.
        attended: whether the vectors of sequences are told to each call, and not their means.

    Attributes:
        places: int64 [these fields], where each stands among all.
    """

    def __init__(
        self, fields: Fields, schema: Schema, wanted: Several[Feature], *, attended: bool = False
    ) -> None:
        kinds = Categorical, MultiValued, Sequence, Vector, Numeric
        of_kind = {kind: [each.name for each in wanted if isinstance(each, kind)] for kind in kinds}
        layout = TableLayout.of(schema)
        before, self._n_values = layout.before, layout.rows
        self._table = fields.table
        self._starts = np.array([before[name] for name in of_kind[Categorical]], np.int64)
        means = [*of_kind[MultiValued], *([] if attended else of_kind[Sequence])]
        self._lists = [before[name] for name in means]
        numeric = [each.name for each in schema.numeric]
        self._numbers = fields.numbers.of_features(
            [numeric.index(name) for name in of_kind[Numeric]]
        )
        self._nodes = (
            _at_nodes(self._numbers) if isinstance(self._numbers, PiecewiseLinear) else None
        )
        several = [each.name for each in schema.multi_valued]
        sequences = [each.name for each in schema.sequences]
        categorical = [each.name for each in schema.categorical]
        given = [each.name for each in schema.vectors]
        self._given = [fields.given[given.index(name)] for name in of_kind[Vector]]
        everything = [*categorical, *several, *sequences, *numeric, *given]
        self.places = torch.tensor(
            [everything.index(name) for kind in kinds for name in of_kind[kind]]
        )

    def __call__(self, block: Block, attended: torch.Tensor | None = None) -> Vectors:
        """Those of a block of n rows, with those of sequences, float32 [n, sequences × dim], where
        they are told."""
        rows = torch.from_numpy((block.categorical + self._starts) * (block.categorical > 0))
        parts = [self._table(rows).flatten(1)]
        if self._lists:
            lists = (*block.multi_valued, *block.sequences)[: len(self._lists)]
            bags = side_by_side(lists, self._lists)
            means = self._table.bags(*(torch.from_numpy(each) for each in bags))
            parts.append(means.view(len(rows), -1))
        if attended is not None:
            parts.append(attended)
        for project, vectors in zip(self._given, block.vectors, strict=True):
            parts.append(project(torch.from_numpy(vectors)))
        numbers = self._numbers
        if self._nodes is None or not isinstance(numbers, PiecewiseLinear):
            parts.append(numbers(torch.from_numpy(block.numeric)).flatten(1))
            return Vectors(torch.cat(parts, 1), rows)
        nodes, within = located(block.numeric, numbers.left.numpy(), numbers.width.numpy())
        parts.append(torch.from_numpy(interpolated(nodes, within, self._nodes)).flatten(1))
        return Vectors(torch.cat(parts, 1), rows, nodes, within)

    def layer(self, weight: torch.Tensor, dtype: torch.dtype) -> ServedLayer:
        """The linear layer of a weight, float32 [columns, fields × dim], over these vectors; see
        there for the dtype."""
        dim = weight.shape[1] // len(self.places)
        nodes = None if self._nodes is None else torch.from_numpy(self._nodes)
        return ServedLayer(
            weight, dim, self._table, len(self._starts), self._n_values, nodes, dtype
        )


def _at_nodes(numbers: PiecewiseLinear) -> NDArray[np.float32]:
    """The vectors at the nodes of numbers: what is missing, where each bin begins, the last end."""
    # Where a bin begins, all before it are full.
    reached = numbers.weight.cumsum(1) + numbers.bias[:, None]
    begin = torch.stack([numbers.missing, numbers.bias], 1)
    values: NDArray[np.float32] = torch.cat([begin, reached], 1).detach().numpy()
    return values
