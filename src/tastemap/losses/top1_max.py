"""TOP1 against the hardest of many drawn items, by a softmax over them.

Hidasi & Karatzoglou 2018, "Recurrent Neural Networks with Top-k Gains for Session-based
Recommendations" (CIKM); TOP1 is of Hidasi et al. 2016.
"""

from __future__ import annotations

import torch

from tastemap.losses.bpr_max import with_log_shares
from tastemap.losses.reduction import average

__all__ = ["top1_max"]


def top1_max(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of Σ_j s_j (σ(x_j - x_i) + σ(x_j²)), with s = softmax of the x_j.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j of drawn items.
        mask: bool [B, n], the drawn items that count; None for all. Without any, a loss is 0.
        weights: float32 [B]; None for 1.

    Returns:
        A scalar; 0 for an empty batch.
    """
    negative, log_s = with_log_shares(negative, mask)
    terms = (negative - positive[:, None]).sigmoid() + negative.square().sigmoid()
    losses = (log_s.exp() * terms).sum(1)
    if mask is not None:
        losses = torch.where(mask.any(1), losses, torch.zeros_like(losses))
    return average(losses, weights)
