"""How the terms of a loss become one number, the same way for all losses."""

from __future__ import annotations

import torch

__all__ = ["average", "average_of_pairs"]


def average(losses: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """(1/B) Σ_b w_b ℓ_b.

    The sum is divided by the number of examples, not by the sum of weights: with weights 1 / (the
    probability of being observed) it is then an unbiased estimate of the mean over all that could
    have been observed (Horvitz & Thompson 1952).

    Args:
        losses: float [B].
        weights: float32 [B]; None for 1.

    Returns:
        A scalar; 0 where B is 0.
    """
    if weights is not None:
        losses = losses * weights
    return losses.sum() / max(losses.shape[0], 1)


def average_of_pairs(
    losses: torch.Tensor, mask: torch.Tensor | None = None, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean of w_b ℓ_bj over the pairs (b, j) that count.

    Args:
        losses: float [B, n].
        mask: bool [B, n], the pairs that count; None for all.
        weights: float32 [B]; None for 1.

    Returns:
        A scalar; 0 where no pair counts.
    """
    if weights is not None:
        losses = losses * weights[:, None]
    if mask is None:
        return losses.sum() / max(losses.numel(), 1)
    # torch.where, since inf * 0 would be NaN.
    losses = torch.where(mask, losses, torch.zeros_like(losses))
    return losses.sum() / mask.sum().clamp(min=1)
