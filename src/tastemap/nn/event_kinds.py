"""What kind of event it was: seen, liked, bought."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["EventKinds"]


class EventKinds(nn.Module):
    """Adds a vector for its kind to each embedded event; of one kind alone there is nothing to say.

    The vectors begin as 0, so that kinds are alike until they prove to differ.

    Args:
        n_kinds: how many there are.
        dim: length of the vectors.

    Attributes:
        weight: float32 [n_kinds, dim]; None where there is one kind.
    """

    def __init__(self, n_kinds: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_kinds, dim)) if n_kinds > 1 else None

    def forward(self, x: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Embedded events float [T, dim] of kinds int64 [T]."""
        return x if self.weight is None else x + functional.embedding(kinds, self.weight)
