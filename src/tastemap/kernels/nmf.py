"""Multiplicative updates of non-negative factors on observed entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST

if TYPE_CHECKING:
    import torch

__all__ = ["nmf_half_step", "nmf_half_step_torch"]

# Keeps a denominator above 0 where a row of factors is all 0.
_TINY = 1e-9


@parallel_njit(fastmath=FAST)
def nmf_half_step(
    offsets: Any, columns: Any, values: Any, factors: Any, fixed: Any, penalty: Any
) -> Any:
    """One multiplicative update of all rows of one side, the other held fixed.

        x_f ← x_f · Σ_j r_j y_jf / (Σ_j (x · y_j) y_jf + penalty n x_f)

    over the n observed entries r_j of a row: Lee & Seung (2001) on observed entries with the
    penalty in the denominator (Luo et al. 2014, equation 12). It never increases the squared error
    with its penalty, and what is non-negative stays so. A row depends on no other.

    Args:
        offsets, columns, values: entries by row, int64 [n + 1], int32 [m], float32 [m] >= 0.
        factors: float32 [n, k], >= 0, changed in place.
        fixed: float32 [columns, k], >= 0.
        penalty: float32, >= 0.

    Returns:
        The sum of the squared errors before the update, float64.
    """
    n, k = factors.shape
    losses = np.zeros(n)
    for row in nb.prange(n):
        x = factors[row]
        above, below = np.zeros(k, np.float32), np.full(k, np.float32(_TINY))
        for event in range(offsets[row], offsets[row + 1]):
            y, value = fixed[np.uint64(columns[event])], values[event]
            dot = np.float32(0)
            for f in range(k):
                dot += x[f] * y[f]
            losses[row] += (value - dot) ** 2
            for f in range(k):
                above[f] += value * y[f]
                below[f] += dot * y[f]
        count = offsets[row + 1] - offsets[row]
        if count > 0:
            weight = penalty * np.float32(count)
            for f in range(k):
                x[f] *= above[f] / (below[f] + weight * x[f])
    return losses.sum()


def nmf_half_step_torch(
    rows: torch.Tensor,
    columns: torch.Tensor,
    values: torch.Tensor,
    factors: torch.Tensor,
    fixed: torch.Tensor,
    penalty: float,
    batch_size: int,
) -> torch.Tensor:
    """As `nmf_half_step`, on any device, for entries in coordinates, `batch_size` at a time.

    Args:
        rows, columns, values: int64 [m], int64 [m] and float32 [m].

    Returns:
        The sum of the squared errors before the update, a scalar on the device.
    """
    import torch

    above, below = torch.zeros_like(factors), torch.full_like(factors, _TINY)
    loss = torch.zeros((), dtype=torch.float64, device=factors.device)
    for start in range(0, len(values), batch_size):
        part = slice(start, start + batch_size)
        x, y, value = factors[rows[part]], fixed[columns[part]], values[part]
        dot = (x * y).sum(dim=1)
        loss += (value - dot).square().sum()
        above.index_add_(0, rows[part], value[:, None] * y)
        below.index_add_(0, rows[part], dot[:, None] * y)
    counts = torch.bincount(rows, minlength=len(factors)).to(factors.dtype)[:, None]
    updated = factors * above / (below + penalty * counts * factors)
    factors.copy_(torch.where(counts > 0, updated, factors))
    return loss
