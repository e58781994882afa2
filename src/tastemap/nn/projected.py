"""A given vector, such as that of a text or a picture, as a learned one of another length."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.nn.initializers import normal_

__all__ = ["ProjectedVectors"]

_FAR = 10.0


class ProjectedVectors(nn.Module):
    """W x / s, where s is the root mean square length of the training rows' vectors, so that what
    they come from says nothing about how fast W learns. A missing vector gives the vector 0, and a
    number far beyond those of the training rows counts as 10 s.

    Args:
        size: of x.
        dim: of what comes out.
        deviation: of the first values of what comes out.

    Attributes:
        weight: float32 [size, dim], the transpose of W.
        length: float32 [], s.
    """

    length: torch.Tensor

    def __init__(self, size: int, dim: int, deviation: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, dim))
        normal_(self.weight, deviation)
        self.register_buffer("length", torch.ones(()))

    def look_at(self, vectors: torch.Tensor) -> None:
        """Takes the length from training rows, float32 [rows, size], NaN where missing."""
        mean = vectors.double().square().sum(1).nanmean().sqrt()
        if mean.isfinite() and mean > 0:
            self.length.copy_(mean)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [B, dim] of vectors [B, size], NaN where missing."""
        return (vectors.nan_to_num(0.0) / self.length).clamp(-_FAR, _FAR) @ self.weight
