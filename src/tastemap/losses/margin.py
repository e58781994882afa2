"""Hinge loss on scores (Herbrich et al. 2000, Large Margin Rank Boundaries)."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average_of_pairs

__all__ = ["margin"]


def margin(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    margin: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of w max(α - x_i + x_j, 0) over the pairs of a chosen item i and a drawn item j.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores x_j.
        mask: bool [B, n], the pairs that count; None for all.
        margin: α, by how much a chosen item's score shall be higher.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar; 0 where no pair counts.
    """
    return average_of_pairs((margin - positive[:, None] + negative).clamp(min=0), mask, weights)
