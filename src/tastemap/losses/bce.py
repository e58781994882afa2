"""Binary cross-entropy of chosen items against drawn ones (He et al. 2017, section 3.1)."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["bce"]


def bce(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of -w ln σ(x_i) of the chosen items and -ln(1 - σ(x_j)) of the drawn ones.

    The mean is over all terms, chosen and drawn; weights are those of the chosen items alone, as in
    Saito et al. 2020, where what was not chosen has no propensity of its own.

    Args:
        positive: float32 [B], the logits x_i.
        negative: float32 [B, n], the logits x_j.
        mask: bool [B, n], the drawn items that count; None for all.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar; 0 for an empty batch.
    """
    chosen, drawn = functional.softplus(-positive), functional.softplus(negative)
    if weights is not None:
        chosen = chosen * weights
    if mask is None:
        return (chosen.sum() + drawn.sum()) / max(chosen.numel() + drawn.numel(), 1)
    drawn = torch.where(mask, drawn, torch.zeros_like(drawn))
    return (chosen.sum() + drawn.sum()) / (chosen.numel() + mask.sum()).clamp(min=1)
