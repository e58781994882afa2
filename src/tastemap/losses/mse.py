"""Squared error of predicted ratings."""

from __future__ import annotations

import torch

__all__ = ["mse"]


def mse(predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """The mean of (r - r̂)² over a batch.

    Args:
        predicted: float32 [B], r̂.
        actual: float32 [B], r.

    Returns:
        A scalar.
    """
    return (actual - predicted).square().mean()
