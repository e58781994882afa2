"""A linear layer over the vectors of features, most of it looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tastemap.kernels.bags import bags_of

__all__ = ["ServedLayer", "Vectors"]


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of n rows, from which x_0 is made.

    Attributes:
        given: float32 [n, fields × dim], those of categorical features, and then all others that
            are no piecewise linear ones of numbers.
        values: int64 [n, features], the values of the first categorical features, which have few.
        nodes, within: [n, numbers], where the numbers of the others stand
            (`kernels.piecewise.located`).
    """

    given: torch.Tensor
    values: NDArray[np.int64]
    nodes: NDArray[np.int32]
    within: NDArray[np.float32]

    def __getitem__(self, some: slice) -> Vectors:
        """Some of the rows, as views."""
        return Vectors(self.given[some], self.values[some], self.nodes[some], self.within[some])


class ServedLayer:
    """A Σ_f A_f e_f, where A_f e_f is looked up for most fields: there is a row for each value of a
    categorical feature that has few, and where the vector of a number is piecewise linear in it, it
    lies between the rows of two nodes. So a feature is an addition or two, and no product with a
    matrix; and what most rows have in common, such as that a number is missing, is added once for
    all.

    Args:
        weight: float32 [columns, fields × dim], A.
        values: float32 [values, dim] each, the vectors of all values of the first fields.
        nodes: float32 [nodes, dim] each, the vectors at the nodes of the last fields.
        dtype: in which the looked up is kept, float32, or float16, which is read in half the time.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        values: Sequence[torch.Tensor],
        nodes: Sequence[torch.Tensor],
        dtype: torch.dtype,
    ) -> None:
        looked_up = [*values, *nodes]
        dim = looked_up[0].shape[1] if looked_up else 1
        by_field = weight.view(len(weight), weight.shape[1] // dim, dim)
        first, last = len(values), by_field.shape[1] - len(nodes)
        places = [*range(first), *range(last, by_field.shape[1])]
        rows = [each @ by_field[:, place].T for each, place in zip(looked_up, places, strict=True)]
        self._table = torch.cat([torch.empty(0, len(weight)), *rows]).to(dtype)
        self._starts = np.cumsum([0, *map(len, rows)])[:-1]
        self._between = slice(first * dim, last * dim)
        self._dense = weight[:, self._between].T.contiguous()

    def __call__(self, vectors: Vectors) -> torch.Tensor:
        """float32 [1 + n, columns] of n rows, of which the first has to be added to all others."""
        rows = np.concatenate([vectors.values, vectors.nodes], 1) + self._starts
        within = np.concatenate([np.zeros(vectors.values.shape, np.float32), vectors.within], 1)
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
            found[1:].addmm_(vectors.given[:, self._between], self._dense)
        return found
