"""How attention is told the order of positions."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["LearnedPositions", "RotaryPositions"]


class LearnedPositions(nn.Module):
    """A learned vector for each place, added to what stands there (Kang & McAuley 2018, eq. 1).

    Args:
        places: how many there are.
        dim: length of the vectors.

    Attributes:
        weight: float32 [places, dim].
    """

    def __init__(self, places: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(places, dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """float [T, dim] of x [T, dim] at places int64 [T]."""
        return x + self.weight.index_select(0, places)


class RotaryPositions(nn.Module):
    """Queries and keys turned by angles that grow with their place (Su et al. 2021, eq. 34).

    Dimension pair k of a head turns by place × base^(-2k/dim), so that the product of a query and a
    key depends on how far apart they stand, and not on where.

    Args:
        places: how many there are.
        dim: of a head, even.
        base: of the wave lengths.

    Raises:
        ValueError: dim is odd.
    """

    cosines: torch.Tensor
    sines: torch.Tensor

    def __init__(self, places: int, dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"RotaryPositions: dim must be even, got {dim}")
        speeds = base ** (-torch.arange(0, dim, 2) / dim)
        angles = torch.arange(places)[:, None] * speeds
        # They follow from the arguments, so they are not saved.
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """x [T, heads, dim] turned by places int64 [T]."""
        cosines = self.cosines.index_select(0, places)[:, None]
        sines = self.sines.index_select(0, places)[:, None]
        first, second = x.chunk(2, -1)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)
