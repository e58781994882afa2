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
from tastemap.kernels.piecewise import between, located
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.ranking.parts.fields import Fields, in_order
from tastemap.ranking.parts.inputs import TableLayout, rows_of, side_by_side

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
        width: numbers of all these vectors.
    """

    def __init__(
        self, fields: Fields, schema: Schema, wanted: Several[Feature], *, attended: bool = False
    ) -> None:
        kinds = Categorical, MultiValued, Sequence, Vector, Numeric
        of_kind = {kind: [each.name for each in wanted if isinstance(each, kind)] for kind in kinds}
        before = TableLayout.of(schema).before
        self._table = fields.table
        self._starts = np.array([before[name] for name in of_kind[Categorical]], np.int64)
        means = [*of_kind[MultiValued], *([] if attended else of_kind[Sequence])]
        self._lists = [before[name] for name in means]
        numeric = [each.name for each in schema.numeric]
        self._numbers = fields.numbers.of_features(
            [numeric.index(name) for name in of_kind[Numeric]]
        )
        self._nodes = None
        if isinstance(self._numbers, PiecewiseLinear):
            self._nodes = _Nodes.of(self._numbers)
        given = [each.name for each in schema.vectors]
        self._given = [fields.given[given.index(name)] for name in of_kind[Vector]]
        everything = [each.name for each in in_order(schema)]
        self.places = torch.tensor(
            [everything.index(name) for kind in kinds for name in of_kind[kind]], dtype=torch.int64
        )
        self.width = fields.dim * len(self.places)

    def __call__(
        self, block: Block, attended: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Those of a block of n rows, one beside the other, float32 [n, fields × dim]; with those
        of sequences, float32 [n, sequences × dim], where they are told."""
        n = len(block.categorical)
        rows = rows_of(block.categorical, self._starts)
        parts: list[torch.Tensor] = [self._table(torch.from_numpy(rows)).flatten(1)]
        if self._lists:
            lists = (*block.multi_valued, *block.sequences)[: len(self._lists)]
            bags = side_by_side(lists, self._lists)
            means = self._table.bags(*(torch.from_numpy(each) for each in bags))
            parts.append(means.view(n, len(self._lists) * means.shape[-1]))
        if attended is not None:
            parts.append(torch.from_numpy(attended))
        for project, vectors in zip(self._given, block.vectors, strict=True):
            parts.append(project(torch.from_numpy(vectors)))
        parts.append(self._of_numbers(block.numeric).flatten(1))
        found: NDArray[np.float32] = torch.cat(parts, 1).numpy()
        return found

    def _of_numbers(self, numbers: NDArray[np.float32]) -> torch.Tensor:
        """The vectors of numbers, float32 [n, numbers, dim] of [n, numbers]."""
        if self._nodes is None:
            vectors: torch.Tensor = self._numbers(torch.from_numpy(numbers))
            return vectors
        nodes, within = located(numbers, self._nodes.left, self._nodes.width)
        return torch.from_numpy(between(nodes, within, self._nodes.values))


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Between which vectors of numbers lie that are piecewise linear.

    Attributes:
        values: float32 [numbers, nodes, dim], the vectors of what is missing, where each bin
            begins, and where the last one ends.
        left, width: float32 [numbers, bins].
    """

    values: NDArray[np.float32]
    left: NDArray[np.float32]
    width: NDArray[np.float32]

    @classmethod
    def of(cls, numbers: PiecewiseLinear) -> _Nodes:
        # Where a bin begins, all before it are full.
        reached = numbers.weight.cumsum(1) + numbers.bias[:, None]
        begin = torch.stack([numbers.missing, numbers.bias], 1)
        values = torch.cat([begin, reached], 1).detach().numpy()
        return cls(values, numbers.left.numpy(), numbers.width.numpy())
