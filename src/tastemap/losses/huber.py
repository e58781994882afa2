"""Huber's loss of predicted ratings (Huber 1964, Robust Estimation of a Location Parameter)."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average

__all__ = ["huber"]


def huber(
    predicted: torch.Tensor,
    actual: torch.Tensor,
    *,
    delta: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of w h(r - r̂): squared where the error e is small, linear where it is large.

        h(e) = e²                    where |e| <= δ
               δ (2 |e| - δ)         elsewhere

    It is twice Huber's function, so that for small errors it is the squared error of `mse`.

    Args:
        predicted: float32 [B], r̂.
        actual: float32 [B], r.
        delta: δ > 0, in the unit of the ratings.
        weights: float32 [B], w of each example; None for 1.

    Returns:
        A scalar.
    """
    size = (actual - predicted).abs()
    losses = torch.where(size <= delta, size.square(), delta * (2 * size - delta))
    return average(losses, weights)
