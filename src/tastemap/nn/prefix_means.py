"""Means of what came up to each place of a sequence."""

from __future__ import annotations

import torch

from tastemap.nn.packing import Packing

__all__ = ["prefix_means"]


def prefix_means(x: torch.Tensor, packing: Packing, decay: float = 1.0) -> torch.Tensor:
    """The mean of each position and of all that stand before it in its sequence.

    Position t gets Σ_{s ≤ t} γ^(t-s) x_s / Σ_{s ≤ t} γ^(t-s).

    Args:
        x: float [T, dim], of the positions of a packing.
        decay: γ, what a place farther back counts, above 0 up to 1.

    Returns:
        float [T, dim].
    """
    means = []
    with torch.autocast(x.device.type, enabled=False):
        for rows in packing.pad(x.float()):
            place = torch.arange(rows.shape[1], device=x.device)
            back = place[:, None] - place
            weights = torch.where(back >= 0, decay ** back.clamp(min=0).float(), 0.0)
            means.append((weights / weights.sum(1, keepdim=True)) @ rows)
        return packing.pack(means)
