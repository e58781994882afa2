"""What models of blocks of attention have in common: how their body is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn
from torch.nn import functional

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.attention import SelfAttention
from tastemap.nn.blocks import Block, GatedBlock, PostNormBlock, PreNormBlock
from tastemap.nn.feed_forward import FeedForward, GatedFeedForward
from tastemap.nn.positions import LearnedPositions, RotaryPositions
from tastemap.retrieval.parts.attention_layers import AttentionLayers

__all__ = ["Transformer", "xavier_linear_"]

_BLOCKS: dict[str, Callable[[int, SelfAttention, nn.Module, float], Block]] = {
    "pre_norm": PreNormBlock, "post_norm": PostNormBlock, "gated": GatedBlock,
}  # fmt: skip
_FEED_FORWARDS: dict[str, Callable[[int, int, float], nn.Module]] = {
    "relu": FeedForward,
    "gelu": partial(FeedForward, activation=functional.gelu),
    "swiglu": GatedFeedForward,
}


class Transformer(AttentionLayers):
    """A sequence model whose network is made of blocks of attention.

    The defaults are a modern body: gated blocks and feed-forward layers (LiGR, Borisyuk et al.
    2025) and rotary positions.
    """

    block: Literal["pre_norm", "post_norm", "gated"] = hyperparameter(
        default="gated",
        help="how a layer joins what goes around it: through a gate (LiGR), by pre_norm, as in "
        "SASRec, or by post_norm, as in the first transformer and BERT4Rec",
    )
    feed_forward: Literal["relu", "gelu", "swiglu"] = hyperparameter(
        default="swiglu",
        help="the layer after each attention: gated, with ReLU (SASRec) or with GELU (BERT4Rec)",
    )
    widening: int = hyperparameter(
        default=2, help="hidden units of a feed-forward layer for each dimension", ge=1, le=16
    )
    positions: Literal["learned", "rotary"] = hyperparameter(
        default="rotary", help="turned queries and keys, or a vector for each place"
    )

    def make_positions(self) -> LearnedPositions | None:
        """What is added to embedded items; None where attention tells places apart itself."""
        return LearnedPositions(self.max_length, self.dim) if self.positions == "learned" else None

    def make_blocks(self, attention: type[SelfAttention], hidden_dropout: float) -> list[Block]:
        """The blocks, one after the other.

        Args:
            attention: which other positions a position looks at.
            hidden_dropout: share of a feed-forward layer's hidden units that are dropped.
        """
        # Even, so that it can be turned.
        head_dim = 2 * -(-self.dim // (2 * self.heads))
        rotary = RotaryPositions(self.max_length, head_dim) if self.positions == "rotary" else None
        hidden = self.widening * self.dim
        return [
            _BLOCKS[self.block](
                self.dim,
                attention(self.dim, self.heads, head_dim, rotary),
                _FEED_FORWARDS[self.feed_forward](self.dim, hidden, hidden_dropout),
                self.dropout_share(),
            )
            for _ in range(self.blocks)
        ]


def xavier_linear_(network: nn.Module) -> None:
    """Begins all linear layers of a network by Glorot's rule, with biases of 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
