"""Squared error of predicted ratings."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average

__all__ = ["mse"]


def mse(
    predicted: torch.Tensor, actual: torch.Tensor, *, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean of w (r - r̂)² over a batch.

    Args:
        predicted: float32 [B], r̂.
        actual: float32 [B], r.
        weights: float32 [B], w of each example; None for 1.

    Returns:
        A scalar.
    """
    return average((actual - predicted).square(), weights)
