"""Triplet loss on distances (Weinberger & Saul 2009; Schroff et al. 2015; Hsieh et al. 2017)."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average_of_pairs

__all__ = ["triplet"]


def triplet(
    query: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    margin: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of w max(|u - p|² - |u - n|² + α, 0) over the pairs of a chosen and a drawn item.

    Args:
        query: float32 [B, dim], u, the vectors of users.
        positive: float32 [B, dim], p, the vectors of chosen items.
        negative: float32 [B, n, dim], n, the vectors of drawn items.
        mask: bool [B, n], the pairs that count; None for all.
        margin: α, how much farther away a drawn item shall be, in squared distance.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar; 0 where no pair counts.
    """
    near = (query - positive).square().sum(-1)
    far = (query[:, None] - negative).square().sum(-1)
    return average_of_pairs((near[:, None] - far + margin).clamp(min=0), mask, weights)
