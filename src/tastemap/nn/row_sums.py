"""Rows of a table and weighted sums of them on a CPU, with gradients as big as the table.

torch sorts the rows of a batch for such a gradient, which takes longer than to add them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit

__all__ = ["Bags", "row_sums", "rows_of", "side_by_side"]

Bags = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Offsets int64 [n + 1], rows int64 [m] and weights float32 [m], to which no gradient goes: sum i
is over the slice offsets[i]:offsets[i + 1] of the rows."""


def rows_of(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of a table float32 [rows, dim]: int64 [...] gives float32 [..., dim]. Row 0 gets no
    gradient."""
    return side_by_side(table, rows.reshape(-1, 1), None, ()).view(*rows.shape, table.shape[1])


def row_sums(table: torch.Tensor, bags: Bags) -> torch.Tensor:
    """Weighted sums, float32 [n, dim], of rows of a table float32 [rows, dim], of which row 0 gets
    no gradient."""
    offsets = bags[0]
    return side_by_side(table, offsets.new_empty(len(offsets) - 1, 0), bags, ()).squeeze(1)


def side_by_side(
    table: torch.Tensor,
    rows: torch.Tensor,
    bags: Bags | None,
    others: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Rows of a table, weighted sums of its rows, and other vectors, written where they belong.

    Args:
        table: float32 [rows, dim]; row 0 gets no gradient.
        rows: int64 [B, k].
        bags: of B × s sums, those of one place of B after each other.
        others: float32 [B, o, dim] each.

    Returns:
        float32 [B, k + s + all o, dim].
    """
    if bags is None:
        bags = rows.new_zeros(1), rows.new_empty(0), table.new_empty(0)
    found: torch.Tensor = _SideBySide.apply(table, rows, *bags, *others)  # type: ignore[no-untyped-call]
    return found


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        table: torch.Tensor,
        rows: torch.Tensor,
        offsets: torch.Tensor,
        entries: torch.Tensor,
        weights: torch.Tensor,
        *others: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, offsets, entries, weights)
        looked_up = rows.shape[1] + (len(offsets) - 1) // max(len(rows), 1)
        ctx.shape, ctx.sizes = table.shape, [looked_up, *(other.shape[1] for other in others)]
        made = table.new_empty(len(rows), sum(ctx.sizes), table.shape[1])
        _look_up(
            table.detach().numpy(), rows.numpy(), offsets.numpy(), entries.numpy(), weights.numpy(),
            made.numpy(),
        )  # fmt: skip
        for place, other in zip(torch.split(made, ctx.sizes, 1)[1:], others, strict=True):
            place.copy_(other)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        table = torch.zeros(ctx.shape)
        rows, offsets, entries, weights = (part.numpy() for part in ctx.saved_tensors)
        parts = gradient.contiguous().numpy()
        _share_out(table.numpy(), rows, offsets, entries, weights, parts)
        table[0] = 0
        return table, None, None, None, None, *torch.split(gradient, ctx.sizes, 1)[1:]


@parallel_njit()
def _look_up(
    table: NDArray[np.float32],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    entries: NDArray[np.int64],
    weights: NDArray[np.float32],
    made: NDArray[np.float32],
) -> None:
    single = rows.shape[1]
    several = (len(offsets) - 1) // max(len(rows), 1)
    for i in nb.prange(len(rows)):
        for j in range(single):
            vector, row = made[i, j], table[rows[i, j]]
            for f in range(len(row)):
                vector[f] = row[f]
        for j in range(several):
            vector, bag = made[i, single + j], i * several + j
            vector[:] = 0
            for entry in range(offsets[bag], offsets[bag + 1]):
                row, weight = table[entries[entry]], weights[entry]
                for f in range(len(row)):
                    vector[f] += weight * row[f]


@nb.njit(cache=True, nogil=True)
def _share_out(
    table: NDArray[np.float32],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    entries: NDArray[np.int64],
    weights: NDArray[np.float32],
    gradient: NDArray[np.float32],
) -> None:
    single = rows.shape[1]
    several = (len(offsets) - 1) // max(len(rows), 1)
    for i in range(len(rows)):
        for j in range(single):
            row, part = table[rows[i, j]], gradient[i, j]
            for f in range(len(row)):
                row[f] += part[f]
        for j in range(several):
            part, bag = gradient[i, single + j], i * several + j
            for entry in range(offsets[bag], offsets[bag + 1]):
                row, weight = table[entries[entry]], weights[entry]
                for f in range(len(row)):
                    row[f] += weight * part[f]
