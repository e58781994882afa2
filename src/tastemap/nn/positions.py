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
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """float [T, dim] of x [T, dim] at places int64 [T]."""
        return x + self.weight.index_select(0, places)


class RotaryPositions(nn.Module):
    """Queries and keys turned by angles that grow with their place (Su et al. 2021, eq. 34).

    Dimensions 2k and 2k + 1 of a head turn by place × base^(-2k/dim), so that the product of a
    query and a key depends on how far apart they stand, and not on where.

    Args:
        places: how many there are.
        dim: of a head, even.
        base: of the wave lengths.

    Raises:
        ValueError: dim is odd.
    """

    turns: torch.Tensor

    def __init__(self, places: int, dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"RotaryPositions: dim must be even, got {dim}")
        angles = torch.arange(places)[:, None] * base ** (-torch.arange(0, dim, 2) / dim)
        # Complex numbers of length 1. They follow from the arguments, so they are not saved.
        turns = torch.polar(torch.ones_like(angles), angles)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """float32 [T, ..., dim], x [T, ..., dim] turned by places int64 [T]."""
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        turns = self.turns.index_select(0, places)
        between = (1,) * (x.ndim - 2)
        turned = pairs * turns.view(len(turns), *between, -1)
        return torch.view_as_real(turned).flatten(-2)
