"""Weighted approximate-rank pairwise loss (Weston, Bengio & Usunier 2011, WSABIE)."""

from __future__ import annotations

import torch

from tastemap.losses.reduction import average

__all__ = ["rank_weight", "warp", "warp_of_trials"]


def warp_of_trials(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    n_items: int,
    margin: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean of w L(rank) max(α - x_i + x_j, 0), where j is the first violator that was drawn.

    Items are tried in order until one comes within the margin of the chosen item i; after N trials
    the rank is taken to be ⌊(items - 1) / N⌋ (section 3.3). Where no trial succeeds, the term is 0.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores of items drawn uniformly, in order of drawing.
        mask: bool [B, n], the draws that count as trials; None for all.
        n_items: how many items there are, without the unknown one.
        margin: α.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar.
    """
    if negative.shape[1] == 0:
        return positive.sum() * 0
    hinge, violates, drawn = _violations(positive, negative, mask, margin)
    first = violates.to(torch.int8).argmax(1, keepdim=True)
    trials = drawn.cumsum(1).gather(1, first)[:, 0]
    rank = torch.div(n_items - 1, trials.clamp(min=1), rounding_mode="floor")
    # A violator was found, so the rank is at least 1, however many trials it took.
    found = rank_weight(rank.clamp(min=1), n_items) * hinge.gather(1, first)[:, 0]
    return average(torch.where(violates.any(1), found, torch.zeros_like(found)), weights)


def warp(
    positive: torch.Tensor,
    negative: torch.Tensor,
    mask: torch.Tensor | None = None,
    *,
    n_items: int,
    margin: float = 1.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same from all draws at once: the mean of w L(rank) times the mean hinge of the violators.

    Each violator is as likely to be drawn first as every other, and the share v/n of violators
    among the draws estimates the rank, (items - 1) v/n, with less variance than a number of trials.
    L(rank), which is constant between changes of rank, is not differentiated.

    Args:
        positive: float32 [B], the scores x_i.
        negative: float32 [B, n], the scores of items drawn uniformly.
        mask: bool [B, n], the draws that count; None for all.
        n_items: how many items there are, without the unknown one.
        margin: α.
        weights: float32 [B], w of each chosen item; None for 1.

    Returns:
        A scalar.
    """
    hinge, violates, drawn = _violations(positive, negative, mask, margin)
    v, n = violates.sum(1), drawn.sum(1)
    rank = torch.ceil((n_items - 1) * v / n.clamp(min=1)).long()
    mean = torch.where(violates, hinge, torch.zeros_like(hinge)).sum(1) / v.clamp(min=1)
    return average(rank_weight(rank, n_items).to(mean.dtype) * mean, weights)


def rank_weight(rank: torch.Tensor, n_items: int) -> torch.Tensor:
    """L(r) = Σ_{k=1..r} 1/k, float32 in the shape of `rank` (int64, from 0 to n_items - 1); it puts
    the errors at the top of the list first (Usunier et al. 2009)."""
    steps = torch.arange(1, max(n_items, 2), dtype=torch.float64, device=rank.device)
    harmonic = torch.cat([steps.new_zeros(1), steps.reciprocal().cumsum(0)])
    return harmonic[rank].float()


def _violations(
    positive: torch.Tensor, negative: torch.Tensor, mask: torch.Tensor | None, margin: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The hinge [B, n], where it is above 0, and which draws count, both bool [B, n]."""
    hinge = margin - positive[:, None] + negative
    drawn = torch.ones_like(hinge, dtype=torch.bool) if mask is None else mask
    return hinge, (hinge > 0) & drawn, drawn
