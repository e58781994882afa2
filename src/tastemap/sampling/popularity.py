"""Negatives that are drawn by how popular they are."""

from __future__ import annotations

import torch

from tastemap.sampling.chosen import Chosen
from tastemap.sampling.fixed import FixedSampler

__all__ = ["PopularitySampler", "popularity_of"]


class PopularitySampler(FixedSampler):
    """Draws an item that a user has not chosen with a probability that grows with its popularity.

    p_j ∝ n_j^α, with n_j how often j was chosen: α = 0 is uniform, 0.75 what Mikolov et al. 2013
    found best for words, 1 the distribution of the events. Below α = 0 what is rare comes often.

    Args:
        n_items: item rows, with row 0, which is never drawn.
        users, items: int64 [m], the pairs that were chosen; here repeats count.
        exponent: α.
        attempts: how often an item is drawn again before it is masked.
    """

    def __init__(
        self,
        n_items: int,
        users: torch.Tensor,
        items: torch.Tensor,
        exponent: float = 0.75,
        attempts: int = 16,
    ) -> None:
        p = popularity_of(torch.bincount(items, minlength=n_items), exponent)
        super().__init__(p, Chosen(n_items, users, items), attempts)


def popularity_of(counts: torch.Tensor, exponent: float) -> torch.Tensor:
    """p_j ∝ n_j^α of counts int64 [item rows], n, as float64 [item rows].

    Row 0 has none, and neither has what never occurs, unless α is 0.
    """
    n = counts.double()
    p = torch.where((n > 0) | (exponent == 0), n**exponent, torch.zeros_like(n))
    p[0] = 0
    return p / p.sum().clamp(min=1e-300)
