"""A linear layer over the vectors of features, most of it looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tastemap.kernels.bags import bags_of

__all__ = ["ServedLayer", "Vectors"]

# What the layer makes of so many values is remembered.
_ROOM = 1 << 13


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of n rows, from which x_0 is made.

    Attributes:
        given: float32 [n, fields × dim], those of categorical features, and then all others that
            are no piecewise linear ones of numbers.
        rows: int64 [n, categorical], of the table of values; 0 for the unknown.
        nodes, within: [n, numbers], where the numbers of the others stand
            (`kernels.piecewise.located`).
    """

    given: torch.Tensor
    rows: NDArray[np.int64]
    nodes: NDArray[np.int32]
    within: NDArray[np.float32]

    def __getitem__(self, some: slice) -> Vectors:
        """Some of the rows, as views."""
        return Vectors(self.given[some], self.rows[some], self.nodes[some], self.within[some])


class ServedLayer:
    """A Σ_f A_f e_f, where A_f e_f is looked up for the most part: for the values of categorical
    features, of which few are asked about again and again, it is remembered, and where the vector
    of a number is piecewise linear in it, it lies between those of two nodes. So a feature is an
    addition or two, and no product with a matrix; and what most rows have in common, such as that
    a number is missing, is added once for all.

    Args:
        weight: float32 [columns, fields × dim], A.
        vectors: makes the vectors [n, dim] of rows [n] of the table of values.
        categorical, values: how many features are categorical, and rows in their table.
        nodes: float32 [numbers, nodes, dim], the vectors of piecewise linear numbers at their
            nodes, which are the last fields.
        dtype: in which the looked up is kept, float32, or float16, which is read in half the time.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        vectors: Callable[[torch.Tensor], torch.Tensor],
        categorical: int,
        values: int,
        nodes: NDArray[np.float32],
        dtype: torch.dtype,
    ) -> None:
        columns, (numbers, per_number, dim) = len(weight), nodes.shape
        by_field = weight.view(columns, -1, dim)
        given = by_field.shape[1] - numbers
        of_nodes = torch.einsum("fnd,cfd->fnc", torch.from_numpy(nodes), by_field[:, given:])
        self._starts = np.arange(numbers) * per_number
        self._looked_up = categorical * dim
        self._dense = weight[:, self._looked_up : given * dim].T.contiguous()
        self._of_values = by_field[:, :categorical].permute(1, 2, 0).contiguous()
        self._vectors = vectors
        # Behind the nodes what stands for the unknown, and then what is remembered.
        self._unknown = numbers * per_number
        self._table = torch.zeros(self._unknown + 1 + _ROOM, columns, dtype=dtype)
        self._table[: self._unknown] = of_nodes.flatten(0, 1)
        self._places = np.empty(values, np.int64)
        self._used = 0
        self._forget()

    def __call__(self, vectors: Vectors) -> torch.Tensor:
        """float32 [1 + n, columns] of n rows, at most 256, of which the first has to be added to
        all others."""
        rows = np.concatenate([self._remembered(vectors.rows), vectors.nodes + self._starts], 1)
        within = np.concatenate([np.zeros(vectors.rows.shape, np.float32), vectors.within], 1)
        some, shares, offsets = (torch.from_numpy(each) for each in bags_of(rows, within))
        found = functional.embedding_bag(
            some,
            self._table,
            offsets,
            mode="sum",
            per_sample_weights=shares.to(self._table.dtype),
            include_last_offset=True,
        ).float()
        if len(self._dense):
            found[1:].addmm_(vectors.given[:, self._looked_up :], self._dense)
        return found

    def _remembered(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the table has rows [n, categorical], made where they are not there yet."""
        places = self._places[rows]
        new = places < 0
        if not new.any():
            return places
        if self._used + int(new.sum()) > len(self._table):
            self._forget()
            new = rows > 0
        for feature, weight in enumerate(self._of_values):
            values = np.unique(rows[new[:, feature], feature])
            stop = self._used + len(values)
            self._table[self._used : stop] = self._vectors(torch.from_numpy(values)) @ weight
            self._places[values] = np.arange(self._used, stop)
            self._used = stop
        return self._places[rows]

    def _forget(self) -> None:
        self._places.fill(-1)
        self._places[0] = self._unknown
        self._used = self._unknown + 1
