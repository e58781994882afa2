"""The ridge regressions of `mf_fold_in.mse_fold_in` on a GPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["mse_fold_in_torch"]

# Numbers gathered at a time.
_NUMBERS = 1 << 26


def mse_fold_in_torch(
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    values: NDArray[np.float32],
    Q: NDArray[np.float32],
    c: NDArray[np.float32],
    penalty: float,
    bias_penalty: float,
    device: str,
) -> NDArray[np.float32]:
    """As `mse_fold_in`, for entries without the unknown item, by batches of rows of like length."""
    counts = np.diff(offsets)
    k = Q.shape[1]
    # Beside its factors each item has a 1, whose coordinate is the bias.
    x_all = torch.from_numpy(np.column_stack([Q, np.ones(len(Q), Q.dtype)])).to(device).double()
    # A row after the last stands for padding.
    x_all = torch.cat([x_all, torch.zeros(1, k + 1, dtype=x_all.dtype, device=device)])
    penalties = torch.full((k + 1,), penalty, dtype=x_all.dtype, device=device)
    penalties[k] = bias_penalty
    wanted = values.astype(np.float64) - c[items]

    found = np.zeros((len(counts), k + 1), np.float32)
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        widths = np.maximum(counts[order[start:]], k + 1)
        sizes = widths * np.arange(1, len(widths) + 1) * (k + 1)
        rows = order[start : start + max(1, int(np.searchsorted(sizes, _NUMBERS, "right")))]
        start += len(rows)
        place = np.arange(counts[rows[-1]])
        real = place < counts[rows][:, None]
        index = np.where(real, offsets[rows][:, None] + place, 0)
        picked = torch.from_numpy(np.where(real, items[index], len(Q)).astype(np.int64)).to(device)
        x = x_all[picked]
        y = torch.from_numpy(np.where(real, wanted[index], 0.0)).to(device)
        n = torch.from_numpy(counts[rows].astype(np.float64)).to(device)
        a = x.mT @ x + torch.diag_embed(n[:, None] * penalties)
        b = (x * y[:, :, None]).sum(dim=1)
        solved = torch.cholesky_solve(b[:, :, None], torch.linalg.cholesky(a))
        found[rows] = solved[:, :, 0].float().cpu().numpy()
    return found
