"""Self-attention over packed sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from tastemap.nn.packing import Bucket, Packing
from tastemap.nn.positions import RotaryPositions

__all__ = ["BidirectionalSelfAttention", "CausalSelfAttention", "SelfAttention"]


class SelfAttention(nn.Module, ABC):
    """Each position gathers from positions of its sequence; a subclass says from which.

        softmax(Q Kᵀ / sqrt(head_dim) + mask) V        (Vaswani et al. 2017, section 3.2)

    The weights of the softmax have no dropout, which would keep torch from its fused kernels.

    Args:
        dim: of the positions.
        heads: how many.
        head_dim: of the queries, keys and values of a head.
        rotary: turns queries and keys; None where positions are told apart otherwise.
    """

    def __init__(
        self, dim: int, heads: int, head_dim: int, rotary: RotaryPositions | None = None
    ) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.queries_keys_values = nn.Linear(dim, 3 * heads * head_dim)
        self.output = nn.Linear(heads * head_dim, dim)

    def forward(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """float [T, dim] of x [T, dim], all positions of a packing."""
        qkv = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1))
        if qkv.device.type == "cpu":
            # On a CPU with matrix units too, attention in bfloat16 takes three times as long.
            qkv = qkv.float()
        queries_keys, values = qkv.split((2, 1), 1)
        if self.rotary is not None:
            queries_keys = self.rotary(queries_keys, packing.places).to(qkv.dtype)
        with torch.autocast(qkv.device.type, enabled=False):
            padded = packing.pad(queries_keys), packing.pad(values)
            rows = zip(*padded, packing.buckets, strict=True)
            gathered = packing.pack([self._attend(*of_bucket) for of_bucket in rows])
        projected: torch.Tensor = self.output(gathered.flatten(1))
        return projected

    def _attend(
        self, queries_keys: torch.Tensor, values: torch.Tensor, bucket: Bucket
    ) -> torch.Tensor:
        """What each cell gathers, [n, width, heads, dim], of its query and key, [n, width, 2,
        heads, dim], and value, [n, width, 1, heads, dim]."""
        # The attention wants [n, heads, width, dim].
        q, k = queries_keys.permute(2, 0, 3, 1, 4)
        (v,) = values.permute(2, 0, 3, 1, 4)
        return self.gather(q, k, v, bucket).transpose(1, 2)

    @abstractmethod
    def gather(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bucket: Bucket
    ) -> torch.Tensor:
        """What each cell gathers, [n, heads, width, dim], of queries, keys and values alike."""


class CausalSelfAttention(SelfAttention):
    """Each position gathers from itself and what came before it."""

    def gather(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bucket: Bucket
    ) -> torch.Tensor:
        # The padding comes after all that is real.
        return scaled_dot_product_attention(q, k, v, is_causal=True)


class BidirectionalSelfAttention(SelfAttention):
    """Each position gathers from all of its sequence."""

    def gather(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bucket: Bucket
    ) -> torch.Tensor:
        mask = None if bucket.filled is None else bucket.filled[:, None, None, :]
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)
