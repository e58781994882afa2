"""An activation whose bend moves with the data."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Dice"]


class Dice(nn.Module):
    """p x + (1 - p) α x,  p = σ((x - E[x]) / √(Var[x] + ε))     (Zhou et al. 2018, eqs. 3 and 4)

    Mean and variance are those of the batch in training and running averages of them after it; α
    is learned, and ε is 1e-8 as published. A PReLU bends at 0 sharply, this one smoothly at the
    mean.

    Args:
        width: numbers of x.
        momentum: what a batch counts in the running averages.

    Attributes:
        slope: float32 [width], α, at first 0.
        mean, variance: float32 [width], running averages.
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, width: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.slope = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [n, width] of x [n, width]."""
        # One row alone has no variance.
        training = self.training and len(x) > 1
        scaled = functional.batch_norm(
            x, self.mean, self.variance, training=training, momentum=self.momentum, eps=1e-8
        )
        p = scaled.sigmoid()
        return x * (p + (1 - p) * self.slope)
