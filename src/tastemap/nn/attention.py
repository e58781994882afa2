"""Self-attention over packed sequences."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from tastemap.nn.packing import Packing
from tastemap.nn.positions import RotaryPositions

__all__ = ["CausalSelfAttention"]


class CausalSelfAttention(nn.Module):
    """Each position gathers from itself and what came before it in its sequence.

        softmax(Q Kᵀ / sqrt(dim / heads) + causal mask) V        (Vaswani et al. 2017, section 3.2)

    The weights of the softmax have no dropout, which would keep torch from its fused kernels.

    Args:
        dim: of the positions, a multiple of `heads`.
        heads: how many.
        rotary: turns queries and keys; None where positions are told apart otherwise.

    Raises:
        ValueError: dim is no multiple of heads.
    """

    def __init__(self, dim: int, heads: int, rotary: RotaryPositions | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"CausalSelfAttention: {dim} dimensions have no {heads} equal heads")
        self.heads, self.rotary = heads, rotary
        self.queries_keys_values = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, packing: Packing) -> torch.Tensor:
        """float [T, dim] of x [T, dim], all positions of a packing."""
        qkv = self.queries_keys_values(x).unflatten(-1, (3, self.heads, -1))
        if qkv.device.type == "cpu":
            # On a CPU with matrix units too, attention in bfloat16 takes three times as long.
            qkv = qkv.float()
        if self.rotary is not None:
            turned = self.rotary(qkv[:, :2].flatten(1, 2), packing.places)
            turned = turned.to(qkv.dtype).unflatten(1, (2, self.heads))
            qkv = torch.cat([turned, qkv[:, 2:]], 1)
        with torch.autocast(qkv.device.type, enabled=False):
            gathered = packing.pack([_attend(rows) for rows in packing.pad(qkv)])
        projected: torch.Tensor = self.output(gathered.flatten(1))
        return projected


def _attend(qkv: torch.Tensor) -> torch.Tensor:
    """What each cell gathers, [n, width, heads, dim], of [n, width, 3, heads, dim]."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
