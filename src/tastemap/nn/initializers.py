"""First values of embedding tables, written in place as torch's own are (`torch.nn.init`)."""

from __future__ import annotations

import math

import torch

__all__ = ["normal_", "uniform_", "xavier_"]


def uniform_(
    table: torch.Tensor, bound: float = 0.05, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Values drawn uniformly from [-bound, bound], as Keras begins its embeddings."""
    with torch.no_grad():
        return table.uniform_(-bound, bound, generator=generator)


def normal_(
    table: torch.Tensor, deviation: float = 0.01, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Values drawn from the normal distribution of mean 0 and this standard deviation."""
    with torch.no_grad():
        return table.normal_(0.0, deviation, generator=generator)


def xavier_(table: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Values drawn uniformly from ±sqrt(6 / (rows + dim)) (Glorot & Bengio 2010, equation 16).

    The rule is made for layers whose inputs are all there at once. Of a table one row is looked up
    at a time, so that in one of many rows the vectors begin much shorter than by the other two.
    """
    rows, dim = table.shape
    return uniform_(table, math.sqrt(6.0 / (rows + dim)), generator)
