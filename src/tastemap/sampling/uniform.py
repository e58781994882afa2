"""Negatives that are drawn uniformly."""

from __future__ import annotations

import torch

from tastemap.sampling.chosen import Chosen
from tastemap.sampling.fixed import FixedSampler
from tastemap.sampling.negatives import Negatives as Negatives

__all__ = ["Negatives", "UniformSampler"]


class UniformSampler(FixedSampler):
    """Draws each item that a user has not chosen with the same probability, with replacement.

    Args:
        n_items: item rows, with row 0, which is never drawn.
        users, items: int64 [m], the pairs that were chosen, in any order; repeats do not matter.
        attempts: how often an item is drawn again before it is masked.
    """

    def __init__(
        self, n_items: int, users: torch.Tensor, items: torch.Tensor, attempts: int = 16
    ) -> None:
        p = torch.full((n_items,), 1 / max(n_items - 1, 1), dtype=torch.float64)
        p[0] = 0
        super().__init__(p.to(items.device), Chosen(n_items, users, items), attempts)

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        n_items, device = len(self.probabilities), self.probabilities.device
        if n_items < 2:
            return torch.zeros(shape, dtype=torch.long, device=device)
        return torch.randint(1, n_items, shape, generator=generator, device=device)
