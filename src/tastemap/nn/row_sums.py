"""Rows of a table and weighted sums of them on a CPU, with gradients as big as the table.

torch sorts the rows of a batch for such a gradient, which takes longer than to add them up.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["row_sums", "rows_of"]


def rows_of(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a table float32 [rows, dim]: int64 [...] gives float32 [..., dim]. Row 0 gets no
    gradient."""
    found: torch.Tensor = _Rows.apply(table, rows)  # type: ignore[no-untyped-call]
    return found


def row_sums(
    table: torch.Tensor, offsets: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted sums, float32 [n, dim], of rows of a table float32 [rows, dim].

    Args:
        table: the rows.
        offsets: int64 [n + 1]; sum i is over the slice offsets[i]:offsets[i + 1] of `rows`.
        rows: int64 [m].
        weights: float32 [m], to which no gradient goes.
    """
    found: torch.Tensor = _Sums.apply(table, offsets, rows, weights)  # type: ignore[no-untyped-call]
    return found


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table.index_select(0, rows.flatten()).view(*rows.shape, table.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (rows,) = ctx.saved_tensors
        table = torch.zeros(ctx.shape)
        parts = gradient.reshape(-1, ctx.shape[1])
        _add_rows(table.numpy(), rows.flatten().numpy(), parts.numpy())
        table[0] = 0
        return table, None


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: torch.Tensor,
        offsets: torch.Tensor,
        rows: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(offsets, rows, weights)
        ctx.shape = table.shape
        return functional.embedding_bag(
            rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
        )

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        table = torch.zeros(ctx.shape)
        offsets, rows, weights = (part.numpy() for part in ctx.saved_tensors)
        _share_out(table.numpy(), offsets, rows, weights, gradient.contiguous().numpy())
        return table, None, None, None


@nb.njit(cache=True, nogil=True)
def _add_rows(
    table: NDArray[np.float32], rows: NDArray[np.int64], parts: NDArray[np.float32]
) -> None:
    for i in range(len(rows)):
        row, part = table[rows[i]], parts[i]
        for f in range(len(row)):
            row[f] += part[f]


@nb.njit(cache=True, nogil=True)
def _share_out(
    table: NDArray[np.float32],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float32],
    gradient: NDArray[np.float32],
) -> None:
    for i in range(len(gradient)):
        for j in range(offsets[i], offsets[i + 1]):
            row, weight, part = table[rows[j]], weights[j], gradient[i]
            for f in range(len(row)):
                row[f] += weight * part[f]
