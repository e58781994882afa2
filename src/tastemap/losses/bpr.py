"""Bayesian personalized ranking (Rendle et al. 2009)."""

from __future__ import annotations

import torch
from torch.nn import functional

from tastemap.losses.reduction import average_of_pairs

__all__ = ["bpr"]


def bpr(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of -w ln σ(x_i - x_j) over the pairs of a chosen item i and a drawn item j.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j.
        mask: bool [B, n], the pairs that count; None for all.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar; 0 where no pair counts.
    """
    return average_of_pairs(functional.softplus(negative - positive[:, None]), mask, weights)
