"""Bayesian personalized ranking (Rendle et al. 2009)."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["bpr"]


def bpr(
    positive: torch.Tensor, negative: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean of -ln σ(x_i - x_j) over the pairs of a chosen item i and a drawn item j.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j.
        mask: bool [B, n], the pairs that count; None for all.

    Returns:
        A scalar; 0 where no pair counts.
    """
    losses = functional.softplus(negative - positive[:, None])
    if mask is None:
        return losses.mean()
    # torch.where, since inf * 0 would be NaN.
    losses = torch.where(mask, losses, torch.zeros_like(losses))
    return losses.sum() / mask.sum().clamp(min=1)
