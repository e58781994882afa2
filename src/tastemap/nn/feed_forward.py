"""Layers that look at one position at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tastemap.nn.dropout import Dropout

__all__ = ["FeedForward", "GatedFeedForward"]


class FeedForward(nn.Module):
    """W₂ dropout(f(W₁ x + b₁)) + b₂ (Vaswani et al. 2017, eq. 2; Kang & McAuley 2018, eq. 5).

    Args:
        dim: of x and of the result.
        hidden: rows of W₁.
        dropout: share of the hidden units that are dropped.
        activation: f; ReLU in both papers.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float,
        activation: Callable[[torch.Tensor], torch.Tensor] = functional.relu,
    ) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout, self.activation = Dropout(dropout), activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [..., dim] of x [..., dim]."""
        found: torch.Tensor = self.outer(self.dropout(self.activation(self.inner(x))))
        return found


class GatedFeedForward(nn.Module):
    """W₂ dropout(SiLU(W x) ∘ V x), called SwiGLU (Shazeer 2020, eq. 6), without biases.

    Args:
        dim: of x and of the result.
        hidden: rows of W and of V.
        dropout: share of the hidden units that are dropped.
    """

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, 2 * hidden, bias=False)
        self.outer = nn.Linear(hidden, dim, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [..., dim] of x [..., dim]."""
        gate, value = self.inner(x).chunk(2, -1)
        found: torch.Tensor = self.outer(self.dropout(functional.silu(gate) * value))
        return found
