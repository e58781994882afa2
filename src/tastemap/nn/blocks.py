"""Blocks of a transformer: attention, then a feed-forward layer, each beside a way around it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from tastemap.nn.attention import SelfAttention
from tastemap.nn.dropout import Dropout
from tastemap.nn.packing import Packing

__all__ = ["Block", "GatedBlock", "PostNormBlock", "PreNormBlock"]


class Block(nn.Module, ABC):
    """Two layers, attention and a feed-forward one; a subclass says how each joins what goes around
    it.

    A model that asks for some positions alone can call the halves by themselves, and the second,
    which looks at one position at a time, on what it asks for.

    Args:
        dim: of the positions.
        attention, feed_forward: the layers, [T, dim] to [T, dim].
        dropout: share of what the layers give that is dropped.
    """

    def __init__(
        self, dim: int, attention: SelfAttention, feed_forward: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.attention, self.feed_forward = attention, feed_forward
        self.first_norm, self.second_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """float [T, dim] of x [T, dim], all positions of a packing."""
        return self.feed(self.attend(x, packing))

    @abstractmethod
    def attend(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """The first half, float [T, dim] of x [T, dim], all positions of a packing."""

    @abstractmethod
    def feed(self, x: torch.Tensor) -> torch.Tensor:
        """The second half, float [..., dim] of what the first gave, [..., dim]."""


class PreNormBlock(Block):
    """x + dropout(g(LayerNorm(x))) for both layers g (Kang & McAuley 2018, section 3.2.2)."""

    def attend(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        found: torch.Tensor = self.dropout(self.attention(self.first_norm(x), packing))
        return x + found

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.dropout(self.feed_forward(self.second_norm(x)))
        return x + found


class PostNormBlock(Block):
    """LayerNorm(x + dropout(g(x))) for both layers g (Vaswani et al. 2017, section 3.1)."""

    def attend(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        normed: torch.Tensor = self.first_norm(x + self.dropout(self.attention(x, packing)))
        return normed

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.second_norm(x + self.dropout(self.feed_forward(x)))
        return normed


class GatedBlock(Block):
    """x + σ(W x) ∘ dropout(g(LayerNorm(x))) for both layers g: each opens its way by itself.

    The gated residual connection of LiGR (Borisyuk et al. 2025, "From Features to Transformers:
    Redefining Ranking for Scalable Impact"), with the norms with which eSASRec (Tikhonovich et al.
    2025, "eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion") takes it to
    sequences.
    """

    def __init__(
        self, dim: int, attention: SelfAttention, feed_forward: nn.Module, dropout: float
    ) -> None:
        super().__init__(dim, attention, feed_forward, dropout)
        self.first_gate, self.second_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def attend(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        found = self.dropout(self.attention(self.first_norm(x), packing))
        opened: torch.Tensor = self.first_gate(x).sigmoid() * found
        return x + opened

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        found = self.dropout(self.feed_forward(self.second_norm(x)))
        opened: torch.Tensor = self.second_gate(x).sigmoid() * found
        return x + opened
