"""Numbers as how far they reach into each of the bins that quantiles make."""

from __future__ import annotations

import torch

from tastemap.nn.numbers import NumberVectors

__all__ = ["PiecewiseLinear"]


class PiecewiseLinear(NumberVectors):
    """A linear layer over a piecewise linear encoding (Gorishniy et al. 2022, section 3.2, eq. 1).

        e_t = 0 below bin t, 1 above it, (x - b_{t-1}) / (b_t - b_{t-1}) within

    The edges b are quantiles of the training rows (section 3.2.1); of equal ones one remains. A
    value beyond the training rows counts as the nearest of them, where the paper lets the first and
    the last bin go on: on the training rows that is the same, and one odd value does no harm.

    Args:
        features: how many numeric features, n.
        dim: length of the vectors.
        bins: at most so many.

    Attributes:
        left: float32 [n, bins], where each bin begins; infinity for one that is not there.
        width: float32 [n, bins].
    """

    left: torch.Tensor
    width: torch.Tensor

    def __init__(self, features: int, dim: int, bins: int) -> None:
        super().__init__(features, bins, dim)
        self.bins = bins
        self.register_buffer("left", torch.full((features, bins), torch.inf))
        self.register_buffer("width", torch.ones(features, bins))

    def look_at(self, numbers: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self.left.fill_(torch.inf)
        self.width.fill_(1.0)
        for place, column in enumerate(numbers.cpu().unbind(1)):
            finite = column.isfinite()
            known, order = column[finite].sort(stable=True)
            if len(known) == 0:
                continue
            edges = self.edges(known, None if labels is None else labels.cpu()[finite][order])
            n = len(edges) - 1
            self.left[place, :n] = edges[:-1]
            self.width[place, :n] = edges.diff()

    def edges(self, known: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Where bins begin and end, float32 [≤ bins + 1], of a feature's numbers, finite and rising
        [m], and their labels [m]."""
        shares = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64)
        # By place and not by torch.quantile, which takes at most 16 million values.
        quantiles = known[(shares * (len(known) - 1)).round().long()]
        edges: torch.Tensor = torch.unique_consecutive(quantiles)
        return edges

    def encoded(self, numbers: torch.Tensor) -> torch.Tensor:
        return ((numbers[..., None] - self.left) / self.width).clamp(0.0, 1.0)
