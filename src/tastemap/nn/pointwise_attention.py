"""Attention without a softmax: the layer that HSTU is made of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import layer_norm, silu

from tastemap.nn.dropout import Dropout
from tastemap.nn.packing import Packing
from tastemap.nn.relative_bias import RelativeBias

__all__ = ["TransductionUnit"]


class TransductionUnit(nn.Module):
    """Pointwise aggregated attention and its gate (Zhai et al. 2024, eqs. 1 to 3).

        U, V, Q, K = split(SiLU(W₁ norm(x)))
        A V = SiLU(Q Kᵀ + bias) V / N, of what is not later
        y = x + W₂ dropout(norm(A V) ∘ U) + b₂

    Weights are not made to add up to 1, so that it counts how often something was done. The gate U
    stands for a feed-forward layer. The norms are layer norms without weights, and N is a constant,
    as in the authors' code.

    Args:
        dim: of the positions.
        heads: how many.
        head_dim: of a head's U, V, Q and K.
        bias: of all heads; it closes the way to what is later.
        longest: N, positions of the longest sequence that there can be.
        dropout: share of what W₂ takes that is dropped.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        bias: RelativeBias,
        longest: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads, self.bias, self.longest = heads, bias, longest
        self.inner = nn.Linear(dim, 4 * heads * head_dim, bias=False)
        self.outer = nn.Linear(heads * head_dim, dim)
        self.dropout = Dropout(dropout)
        nn.init.normal_(self.inner.weight, std=0.02)
        nn.init.xavier_uniform_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: torch.Tensor, packing: Packing, gaps: list[torch.Tensor]) -> torch.Tensor:
        """float [T, dim] of x [T, dim], all positions of a packing, and their `time_gaps`."""
        uvqk = silu(self.inner(_norm(x)).unflatten(-1, (4, self.heads, -1)))
        if uvqk.device.type == "cpu":
            # As for attention with a softmax, which in bfloat16 takes longer on a CPU.
            uvqk = uvqk.float()
        u, vqk = torch.split(uvqk, [1, 3], 1)
        with torch.autocast(uvqk.device.type, enabled=False):
            rows = zip(packing.pad(vqk), gaps, strict=True)
            gathered = packing.pack([self._attend(*of_bucket) for of_bucket in rows])
        gated = _norm(gathered.flatten(1)) * u.flatten(1)
        projected: torch.Tensor = self.outer(self.dropout(gated))
        return x + projected

    def _attend(self, vqk: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        """What each cell gathers, [n, width, heads, head_dim], of its value, query and key, [n,
        width, 3, heads, head_dim], and the time gaps, [n, width, width].

        Plain torch: with a gradient by hand, which saves less and goes a sequence at a time, it
        took as long.
        """
        v, q, k = vqk.permute(2, 0, 3, 1, 4)
        bias = self.bias(gaps).to(q.dtype)
        weights = silu(q @ k.mT + bias.unsqueeze(-3))
        gathered: torch.Tensor = weights @ v / self.longest
        return gathered.transpose(1, 2)


def _norm(x: torch.Tensor) -> torch.Tensor:
    return layer_norm(x, x.shape[-1:], eps=1e-6)
