"""Numbers as vectors: the linear layer that each encoding of a number ends with."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import nn

__all__ = ["NumberVectors", "ScaledNumbers"]


class NumberVectors(nn.Module, ABC):
    """A vector for each of n numeric features; a missing value has a learned one of its own.

    A subclass says how a number is encoded, and takes what it needs from the training rows in
    `look_at`. Its buffers are part of what is saved.

    Args:
        features: n.
        parts: numbers that encode one.
        dim: length of the vectors.

    Attributes:
        weight: float32 [n, parts, dim], a linear layer for each feature.
        bias, missing: float32 [n, dim], what is added, and what stands for a missing value.
    """

    def __init__(self, features: int, parts: int, dim: int) -> None:
        super().__init__()
        bound = parts**-0.5
        self.weight = nn.Parameter(torch.empty(features, parts, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(features, dim))
        self.missing = nn.Parameter(torch.zeros(features, dim))

    def of_features(self, places: list[int]) -> Self:
        """A copy for some of the features."""
        part = copy.deepcopy(self)
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.data = tensor.data[places]
        return part

    @abstractmethod
    def look_at(self, numbers: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        """Takes what the encoding needs to know from training rows, float32 [rows, n], NaN where
        missing, and, where it asks for them, from their labels, float32 [rows]."""

    @abstractmethod
    def encoded(self, numbers: torch.Tensor) -> torch.Tensor:
        """float32 [B, n, parts] of finite numbers [B, n]."""

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Vectors float32 [B, n, dim] of numbers [B, n], NaN where missing."""
        lacking = numbers.isnan()
        encoded = self.encoded(numbers.masked_fill(lacking, 0.0))
        # By feature, as matrices: an einsum takes half as long again.
        products = torch.baddbmm(self.bias[:, None], encoded.transpose(0, 1), self.weight)
        vectors = self.activated(products.transpose(0, 1))
        if not lacking.any():
            return vectors
        return torch.where(lacking[..., None], self.missing, vectors)

    def activated(self, vectors: torch.Tensor) -> torch.Tensor:
        """What comes after the linear layer: nothing, by default."""
        return vectors


class ScaledNumbers(NumberVectors):
    """The number with mean 0 and standard deviation 1, times a vector.

    Args:
        features: how many numeric features.
        dim: length of the vectors.

    Attributes:
        mean, scale: float32 [n], of the training rows.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, features: int, dim: int, parts: int = 1) -> None:
        super().__init__(features, parts, dim)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def look_at(self, numbers: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        mean = numbers.double().nanmean(0)
        deviation = (numbers - mean).square().nanmean(0).sqrt()
        known = mean.isfinite() & (deviation > 0)
        self.mean.copy_(mean.nan_to_num())
        self.scale.copy_(torch.where(known, 1 / deviation, torch.ones_like(mean)))

    def encoded(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.scaled(numbers)[..., None]

    def scaled(self, numbers: torch.Tensor) -> torch.Tensor:
        """float32 [B, n] with the training rows' mean 0 and deviation 1."""
        return (numbers - self.mean) * self.scale
