"""Vectors of the features that requests have, or their candidates, for a ranker at work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.features.block import Block
from tastemap.features.schema import Categorical, MultiValued, Numeric, Schema, Sequence, Vector
from tastemap.kernels.piecewise import interpolated
from tastemap.nn.numbers import NumberVectors
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TableLayout, side_by_side

__all__ = ["ServedFields"]


class ServedFields:
    """Some of the vectors that `Fields` make; sequences by their mean.

    Args:
        fields: that have learned.
        schema: all features.
        block: with the features whose vectors are wanted.

    Attributes:
        places: int64 [these fields], where each stands among all.
    """

    def __init__(self, fields: Fields, schema: Schema, block: Block) -> None:
        kinds = Categorical, MultiValued, Sequence, Numeric, Vector
        of_kind = {
            kind: [each.name for each in block.features if isinstance(each, kind)] for kind in kinds
        }
        before = TableLayout.of(schema).before
        self._table = fields.table
        self._starts = np.array([before[name] for name in of_kind[Categorical]], np.int64)
        self._lists = [before[name] for name in (*of_kind[MultiValued], *of_kind[Sequence])]
        numeric = [each.name for each in schema.numeric]
        self._numbers = _fast(
            fields.numbers.of_features([numeric.index(name) for name in of_kind[Numeric]])
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

    def __call__(self, block: Block) -> torch.Tensor:
        """float32 [n, these fields, dim] of a block of n rows."""
        rows = np.where(block.categorical > 0, block.categorical + self._starts, 0)
        parts = [self._table(torch.from_numpy(rows))]
        if self._lists:
            bags = side_by_side((*block.multi_valued, *block.sequences), self._lists)
            means = self._table.bags(*(torch.from_numpy(each) for each in bags))
            parts.append(means.view(len(rows), len(self._lists), -1))
        if block.numeric.shape[1]:
            parts.append(self._numbers(block.numeric))
        for project, vectors in zip(self._given, block.vectors, strict=True):
            parts.append(project(torch.from_numpy(vectors))[:, None])
        return torch.cat(parts, 1)


def _fast(numbers: NumberVectors) -> Callable[[NDArray[np.float32]], torch.Tensor]:
    """What makes the same vectors of numbers, [n, features] to [n, features, dim]."""
    if not isinstance(numbers, PiecewiseLinear):
        return lambda values: numbers(torch.from_numpy(values))
    # From two rows of a table, and not by a product with all bins, most of which are 0 or 1. Where
    # a bin begins, all before it are full.
    begins = numbers.weight.cumsum(1) - numbers.weight + numbers.bias[:, None]
    tables = tuple(
        each.detach().numpy()
        for each in (numbers.left, numbers.width, begins, numbers.weight, numbers.missing)
    )
    return lambda values: torch.from_numpy(interpolated(values, *tables))
