"""A linear layer over the vectors of features, most of it looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["ServedLayer", "Vectors"]

# What the layer makes of so many values is remembered.
_ROOM = 1 << 13


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of n rows, those of categorical features first and those of numbers last.

    Attributes:
        whole: float32 [n, fields × dim].
        rows: int64 [n, categorical], of the table of values; 0 for the unknown.
        nodes, within: [n, numbers], where the numbers stand (`kernels.piecewise.located`); None
            where they are not piecewise linear.
    """

    whole: torch.Tensor
    rows: torch.Tensor
    nodes: NDArray[np.int32] | None = None
    within: NDArray[np.float32] | None = None

    def slice(self, start: int, stop: int) -> Vectors:
        """Rows start:stop, as views."""
        if self.nodes is None or self.within is None:
            return Vectors(self.whole[start:stop], self.rows[start:stop])
        return Vectors(
            self.whole[start:stop],
            self.rows[start:stop],
            self.nodes[start:stop],
            self.within[start:stop],
        )


class ServedLayer:
    """A Σ_f A_f e_f, where A_f e_f is looked up for the most part: for the values of categorical
    features, of which few are asked about again and again, it is remembered, and where the vector
    of a number is piecewise linear in it, it lies between those of two nodes. So a feature is an
    addition or two, and no product with a matrix.

    Args:
        weight: float32 [columns, fields × dim], A.
        dim: of a vector.
        vectors: makes the vectors [n, dim] of rows [n] of the table of values.
        categorical, values: how many features are categorical, and rows in their table.
        nodes: float32 [numbers, nodes, dim], the vectors of numbers at their nodes; None where they
            are not piecewise linear.
        dtype: in which the looked up is kept, float32, or float16, which is read in half the time.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        dim: int,
        vectors: Callable[[torch.Tensor], torch.Tensor],
        categorical: int,
        values: int,
        nodes: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> None:
        columns = len(weight)
        by_field = weight.view(columns, -1, dim)
        of_nodes = torch.empty(0, columns)
        looked_up = by_field.shape[1]
        if nodes is not None:
            looked_up -= len(nodes)
            of_nodes = torch.einsum("fnd,cfd->fnc", nodes, by_field[:, looked_up:]).flatten(0, 1)
            self._starts = np.arange(len(nodes)) * nodes.shape[1]
        self._between = np.s_[categorical * dim : looked_up * dim]
        self._dense = weight[:, self._between].T.contiguous()
        self._of_values = by_field[:, :categorical].permute(1, 2, 0).contiguous()
        self._vectors = vectors
        # Behind the nodes what stands for the unknown, and then what is remembered.
        self._unknown = len(of_nodes)
        room = len(of_nodes) + 1 + _ROOM
        self._table = torch.zeros(room, columns, dtype=dtype)
        self._table[: len(of_nodes)] = of_nodes
        self._places = torch.empty(values, dtype=torch.int32)
        self._used = 0
        self._forget()

    def __call__(self, vectors: Vectors, bias: torch.Tensor) -> torch.Tensor:
        """float32 [n, columns] of at most 256 rows, with a bias [columns]."""
        places = self._remembered(vectors.rows)
        shares = torch.ones(places.shape)
        if vectors.nodes is not None and vectors.within is not None:
            nodes, within = (
                torch.from_numpy(vectors.nodes + self._starts),
                torch.from_numpy(vectors.within),
            )
            places = torch.cat([places, nodes, nodes + 1], 1)
            shares = torch.cat([shares, 1 - within, within], 1)
        sums = functional.embedding_bag(
            places, self._table, mode="sum", per_sample_weights=shares.to(self._table.dtype)
        )
        found = sums.float().add_(bias)
        if len(self._dense):
            found.addmm_(vectors.whole[:, self._between], self._dense)
        return found

    def _remembered(self, rows: torch.Tensor) -> torch.Tensor:
        """Where the table has rows [n, categorical], made where they are not there yet."""
        places = self._places[rows]
        new = places < 0
        if not new.any():
            return places.long()
        if self._used + int(new.sum()) > len(self._table):
            self._forget()
            new = rows > 0
        for feature, weight in enumerate(self._of_values):
            values = torch.from_numpy(np.unique(rows[new[:, feature], feature].numpy()))
            stop = self._used + len(values)
            self._table[self._used : stop] = self._vectors(values) @ weight
            self._places[values] = torch.arange(self._used, stop, dtype=torch.int32)
            self._used = stop
        return self._places[rows].long()

    def _forget(self) -> None:
        self._places.fill_(-1)
        self._places[0] = self._unknown
        self._used = self._unknown + 1
