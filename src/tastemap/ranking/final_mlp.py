"""Two perceptrons, each with its own view of the features, and products of what they find."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.errors import ParameterError
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.perceptron import perceptron
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["FinalMLP"]


class FeatureGate(nn.Module):
    """2 σ(MLP(c)) ∘ x, where c is a learned vector (eqs. 5 to 7).

    The paper takes vectors of the user and of the item for c, or, where features are not said to be
    of either, as here, a learned one for each stream.

    Args:
        width: of x.
        dim: of c.
        hidden: width of the gate's hidden layer.
    """

    def __init__(self, width: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.randn(dim) * 0.01)
        self.gate = nn.Sequential(perceptron(dim, hidden, 1, 0.0), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [B, width] of x [B, width]."""
        opened: torch.Tensor = x * (2 * self.gate(self.context).sigmoid())
        return opened


class BilinearFusion(nn.Module):
    """b + w₁·y + w₂·z + Σ_h y_hᵀ W_h z_h, of the h-th part of y and of z (eqs. 9 to 11).

    Args:
        width: of y and of z, a multiple of `heads`.
        heads: parts of each.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.Linear(width, 1), nn.Linear(width, 1, bias=False)
        self.products = nn.Parameter(torch.empty(heads, width // heads, width // heads))
        for matrix in self.products.unbind():
            nn.init.xavier_normal_(matrix)

    def forward(self, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """float [B] of y and z, both [B, width]."""
        left = y.view(len(y), self.heads, -1)
        right = z.view(len(z), self.heads, -1)
        pairs = torch.einsum("bhi,hij,bhj->b", left, self.products, right)
        linear: torch.Tensor = (self.first(y) + self.second(z)).squeeze(1)
        return linear + pairs


class FinalMLPNetwork(RankingNetwork):
    """fusion(MLP₁(gate₁(x)), MLP₂(gate₂(x))) of all vectors in one, x.

    Args:
        fields: the vectors.
        streams: two, each with a gate before its layers.
        fusion: of what the streams find.
    """

    def __init__(self, fields: Fields, streams: list[nn.Sequential], fusion: nn.Module) -> None:
        super().__init__(fields)
        self.streams, self.fusion = nn.ModuleList(streams), fusion

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        x = vectors.flatten(1)
        y, z = (stream(x) for stream in self.streams)
        fused: torch.Tensor = self.fusion(y, z)
        return fused


class FinalMLP(DeepRanker):
    """Two perceptrons, gated so that each sees other features, joined by a bilinear product (Mao et
    al. 2023)."""

    name = "finalmlp"
    paper = "Mao et al. 2023, FinalMLP: an enhanced two-stream MLP model for CTR prediction"

    heads: int = hyperparameter(
        default=8, help="parts of a stream's last layer; its width is a multiple", ge=1, le=256
    )
    gate_hidden: int = hyperparameter(
        default=64, help="width of the gates' hidden layer", ge=1, log=True
    )

    def make_network(self) -> FinalMLPNetwork:
        if self.hidden % self.heads:
            raise ParameterError(
                f"FinalMLP: hidden must be a multiple of heads, got {self.hidden} and {self.heads}"
            )
        streams = [
            nn.Sequential(
                FeatureGate(self.input_width, self.dim, self.gate_hidden),
                self.make_perceptron(),
            )
            for _ in range(2)
        ]
        fusion = BilinearFusion(self.hidden, self.heads)
        return FinalMLPNetwork(self.make_fields(self.dim), streams, fusion)
