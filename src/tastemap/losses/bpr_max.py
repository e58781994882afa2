"""BPR against the hardest of many drawn items, by a softmax over them.

Hidasi & Karatzoglou 2018, "Recurrent Neural Networks with Top-k Gains for Session-based
Recommendations" (CIKM).
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid

from tastemap.losses.reduction import average

__all__ = ["bpr_max", "with_log_shares"]


def bpr_max(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    regularization: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of -ln Σ_j s_j σ(x_i - x_j) + λ Σ_j s_j x_j², with s = softmax of the x_j.

    With many drawn items most are easy, and plain BPR learns less from each the more there are;
    here those that stand highest count.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j of drawn items.
        mask: bool [B, n], the drawn items that count; None for all. Without any, a loss is 0.
        regularization: λ, the penalty on the drawn items' scores.
        weights: float32 [B]; None for 1.

    Returns:
        A scalar; 0 for an empty batch.
    """
    negative, log_s = with_log_shares(negative, mask)
    likelihood = torch.logsumexp(log_s + logsigmoid(positive[:, None] - negative), 1)
    losses = regularization * (log_s.exp() * negative.square()).sum(1) - likelihood
    if mask is not None:
        losses = torch.where(mask.any(1), losses, torch.zeros_like(losses))
    return average(losses, weights)


def with_log_shares(
    negative: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [B, n] and ln s_j [B, n], their softmax over those that count.

    What does not count comes back as 0, with a share that is 0 in effect but has a logarithm.
    """
    if mask is None:
        return negative, negative.log_softmax(1)
    counting = negative.masked_fill(~mask, 0.0)
    return counting, counting.masked_fill(~mask, -1e9).log_softmax(1)
