"""Vectors of the features that requests have, or their candidates, for a ranker at work."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass

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
from tastemap.kernels.piecewise import beside, located
from tastemap.nn.numbers import NumberVectors
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.ranking.parts.fields import Fields, in_order
from tastemap.ranking.parts.inputs import TableLayout, rows_of, side_by_side
from tastemap.ranking.parts.served_layer import ServedLayer, Vectors

__all__ = ["ServedFields"]

# Of a feature with so many values, the unknown among them, all are looked up in a layer.
_FEW = 256


class ServedFields:
    """Some of the vectors that `Fields` make.

    Args:
        fields: that have learned.
        schema: all features.
        wanted: the features whose vectors these are.
        attended: whether the vectors of sequences are told to each call, and not their means.

    Attributes:
        places: int64 [these fields], where each stands among all.
        width: numbers of all these vectors.
    """

    def __init__(
        self, fields: Fields, schema: Schema, wanted: Several[Feature], *, attended: bool = False
    ) -> None:
        kinds = Categorical, MultiValued, Sequence, Vector, Numeric
        of_kind = {kind: [each.name for each in wanted if isinstance(each, kind)] for kind in kinds}
        before = TableLayout.of(schema).before
        self._table = fields.table
        # Those of few values come first.
        sizes = np.array([each.size for each in wanted if isinstance(each, Categorical)], np.int64)
        self._columns = np.argsort(sizes > _FEW, kind="stable")
        self._few = sizes[sizes <= _FEW].tolist()
        of_kind[Categorical] = [of_kind[Categorical][column] for column in self._columns]
        self._starts = np.array([before[name] for name in of_kind[Categorical]], np.int64)
        means = [*of_kind[MultiValued], *([] if attended else of_kind[Sequence])]
        self._lists = [before[name] for name in means]
        numeric = [each.name for each in schema.numeric]
        self._numbers = fields.numbers.of_features(
            [numeric.index(name) for name in of_kind[Numeric]]
        )
        self._nodes = _Nodes.of(self._numbers, fields.dim)
        given = [each.name for each in schema.vectors]
        self._given = [fields.given[given.index(name)] for name in of_kind[Vector]]
        everything = [each.name for each in in_order(schema)]
        self.places = torch.tensor(
            [everything.index(name) for kind in kinds for name in of_kind[kind]], dtype=torch.int64
        )
        self.width = fields.dim * len(self.places)

    def __call__(self, block: Block, attended: torch.Tensor | None = None) -> Vectors:
        """Those of a block of n rows; with those of sequences, float32 [n, sequences × dim], where
        they are told."""
        values = block.categorical.take(self._columns, axis=1)
        parts = [self._of_values(values, self._starts).flatten(1)]
        if self._lists:
            lists = (*block.multi_valued, *block.sequences)[: len(self._lists)]
            bags = side_by_side(lists, self._lists)
            means = self._table.bags(*(torch.from_numpy(each) for each in bags))
            parts.append(means.view(len(values), -1))
        if attended is not None:
            parts.append(attended)
        for project, vectors in zip(self._given, block.vectors, strict=True):
            parts.append(project(torch.from_numpy(vectors)))
        numbers = block.numeric
        if not isinstance(self._numbers, PiecewiseLinear):
            parts.append(self._numbers(torch.from_numpy(numbers)).flatten(1))
            numbers = numbers[:, :0]
        nodes, within = located(numbers, self._nodes.left, self._nodes.width)
        few = values[:, : len(self._few)]
        return Vectors(torch.cat(parts, 1), few, nodes, within)

    def _of_values(self, values: NDArray[np.int64], starts: NDArray[np.int64]) -> torch.Tensor:
        """The vectors of values, float32 [n, features, dim] of [n, features]."""
        vectors: torch.Tensor = self._table(torch.from_numpy(rows_of(values, starts)))
        return vectors

    def joined(
        self,
        vectors: Vectors,
        before: NDArray[np.float32],
        shared: NDArray[np.float32],
        places: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Vectors of n rows, one beside the other, float32 [n, b + s + fields × dim].

        Args:
            vectors: that this made.
            before: float32 [b], with which all rows begin.
            shared: float32 [m, s], what comes then, at the `places`, int64 [n], of the rows.
        """
        given, nodes, within = vectors.given.numpy(), vectors.nodes, vectors.within
        found = np.empty((len(places), len(before) + shared.shape[1] + self.width), np.float32)
        beside(before, shared, places, given, nodes, within, self._nodes.values, found)
        return found

    def alone(self, vectors: Vectors) -> NDArray[np.float32]:
        """Vectors of n rows that this made, one beside the other, float32 [n, fields × dim]."""
        places = np.zeros(len(vectors.given), np.int64)
        return self.joined(vectors, np.empty(0, np.float32), np.empty((1, 0), np.float32), places)

    def layer(self, weight: torch.Tensor, dtype: torch.dtype) -> ServedLayer:
        """The linear layer of a weight, float32 [columns, fields × dim], over these vectors; see
        there for the dtype."""
        values = [
            self._of_values(np.arange(size)[:, None], start).squeeze(1)
            for size, start in zip(self._few, self._starts, strict=False)
        ]
        return ServedLayer(weight, values, [*torch.from_numpy(self._nodes.values)], dtype)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Between which vectors of numbers lie; none where they are not piecewise linear.

    Attributes:
        values: float32 [numbers, nodes, dim], the vectors of what is missing, where each bin
            begins, and where the last one ends.
        left, width: float32 [numbers, bins].
    """

    values: NDArray[np.float32]
    left: NDArray[np.float32]
    width: NDArray[np.float32]

    @classmethod
    def of(cls, numbers: NumberVectors, dim: int) -> _Nodes:
        if not isinstance(numbers, PiecewiseLinear):
            none = np.empty((0, 1), np.float32)
            return cls(np.empty((0, 3, dim), np.float32), none, none)
        # Where a bin begins, all before it are full.
        reached = numbers.weight.cumsum(1) + numbers.bias[:, None]
        begin = torch.stack([numbers.missing, numbers.bias], 1)
        values = torch.cat([begin, reached], 1).detach().numpy()
        return cls(values, numbers.left.numpy(), numbers.width.numpy())
