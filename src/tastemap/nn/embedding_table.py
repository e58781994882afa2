"""A table of vectors whose gradients hold only the rows that were looked up."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tastemap.nn.initializers import uniform_
from tastemap.nn.row_sums import row_sums, rows_of

__all__ = ["EmbeddingTable"]


class EmbeddingTable(nn.Module):
    """One vector a row; row 0 stands for the unknown, is 0 and stays so.

    With `sparse` the gradient is a sparse tensor, which `tastemap.nn.optimizers` take; without, it
    is as big as the table, for optimizers that move every row in every step (dense Adam).

    Args:
        rows: how many, with row 0.
        dim: length of the vectors.
        sparse: whether the gradient is sparse.
        initialize: writes the first values in place; `tastemap.nn.initializers`.

    Attributes:
        weight: float32 [rows, dim].
    """

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        sparse: bool = True,
        initialize: Callable[[torch.Tensor], object] = uniform_,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.weight = nn.Parameter(torch.empty(rows, dim))
        initialize(self.weight)
        with torch.no_grad():
            self.weight[0] = 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Vectors of rows: int64 [...] gives float32 [..., dim]."""
        if self.compiled:
            return rows_of(self.weight, rows)
        return functional.embedding(rows, self.weight, padding_idx=0, sparse=self.sparse)

    def bags(
        self, offsets: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Weighted sums of vectors.

        Args:
            offsets: int64 [n + 1]; bag i is the slice offsets[i]:offsets[i + 1] of `rows`.
            rows: int64 [m], above 0.
            weights: float32 [m].

        Returns:
            float32 [n, dim].
        """
        if self.compiled and not weights.requires_grad:
            return row_sums(self.weight, (offsets, rows, weights))
        return functional.embedding_bag(
            rows, self.weight, offsets,
            mode="sum", per_sample_weights=weights, include_last_offset=True, sparse=self.sparse,
        )  # fmt: skip

    @property
    def compiled(self) -> bool:
        """Whether its vectors and their gradients are for `tastemap.nn.row_sums`."""
        return torch.is_grad_enabled() and not self.sparse and self.weight.device.type == "cpu"
