"""Numbers as sines and cosines of learned frequencies."""

from __future__ import annotations

import math

import torch
from torch import nn

from tastemap.nn.numbers import ScaledNumbers

__all__ = ["Periodic"]


class Periodic(ScaledNumbers):
    """ReLU of a linear layer over periodic activations (Gorishniy et al. 2022, section 3.3).

        [sin v, cos v],  v = 2π [c_1 x, …, c_k x]

    of the number x with mean 0 and deviation 1. The frequencies c begin as draws of a normal
    distribution and are learned; the paper calls it "PLR".

    Args:
        features: how many numeric features, n.
        dim: length of the vectors.
        frequencies: k.
        deviation: of the first frequencies, the paper's σ.

    Attributes:
        frequencies: float32 [n, k].
    """

    def __init__(self, features: int, dim: int, frequencies: int, deviation: float) -> None:
        super().__init__(features, dim, 2 * frequencies)
        self.frequencies = nn.Parameter(torch.randn(features, frequencies) * deviation)

    def encoded(self, numbers: torch.Tensor) -> torch.Tensor:
        angles = 2 * math.pi * self.scaled(numbers)[..., None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], -1)

    def activated(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors.relu()
