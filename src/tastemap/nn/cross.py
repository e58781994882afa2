"""Cross layers: features multiplied with features, a degree more with each layer."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CrossLayer", "GatedCrossLayer", "MixtureCrossLayer"]


class CrossLayer(nn.Module):
    """x_{l+1} = x_0 ∘ (W x_l + b) + x_l (Wang et al. 2021, "DCN V2", eq. 1).

    Args:
        width: of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.xavier_normal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, first: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """float [B, width] of x_0 and x_l, both [B, width]."""
        return torch.addcmul(x, first, self.linear(x))


class GatedCrossLayer(CrossLayer):
    """x_{l+1} = x_0 ∘ (W x_l + b) ∘ σ(W_g x_l) + x_l, where the gate says which products matter
    (Wang et al. 2023, "Towards deeper, lighter and interpretable cross network").

    Args:
        width: of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gate = nn.Linear(width, width, bias=False)
        nn.init.xavier_normal_(self.gate.weight)

    def forward(self, first: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(x, first, self.linear(x) * self.gate(x).sigmoid())


class MixtureCrossLayer(nn.Module):
    """A cross layer of low rank, whose experts a gate mixes (Wang et al. 2021, eqs. 2 to 4).

        E_i(x_l) = x_0 ∘ (U_i g(C_i g(V_iᵀ x_l)) + b)        g = tanh
        x_{l+1} = Σ_i softmax_i(G x_l) E_i(x_l) + x_l

    Args:
        width: of x.
        rank: columns of U_i and V_i.
        experts: how many.
    """

    def __init__(self, width: int, rank: int, experts: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(experts, width, rank))
        self.inner = nn.Parameter(torch.empty(experts, rank, rank))
        self.up = nn.Parameter(torch.empty(experts, rank, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.gate = nn.Linear(width, experts, bias=False)
        for stack in (self.down, self.inner, self.up):
            for matrix in stack.unbind():
                nn.init.xavier_normal_(matrix)

    def forward(self, first: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """float [B, width] of x_0 and x_l, both [B, width]."""
        found = torch.einsum("bw,ewr->ebr", x, self.down).tanh()
        found = torch.bmm(found, self.inner).tanh()
        found = torch.bmm(found, self.up) + self.bias
        weights = self.gate(x).softmax(1)
        mixed = torch.einsum("be,ebw->bw", weights, found)
        return torch.addcmul(x, first, mixed)
