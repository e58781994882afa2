"""Negatives that the user was shown and did not choose."""

from __future__ import annotations

import numpy as np
import torch

from tastemap.data.histories import Histories
from tastemap.sampling.chosen import Chosen
from tastemap.sampling.negatives import Negatives
from tastemap.sampling.own import draw_from_lists

__all__ = ["ImpressionSampler"]


class ImpressionSampler:
    """Draws uniformly, with replacement, from what a user has seen but not chosen.

    What was shown and passed over is known to be less wanted than what was chosen, where an item
    that was never shown may only be unknown (Joachims et al. 2005, on results that were skipped).
    Users without such items have no negatives; in a `MixtureSampler` others then stand in.

    Args:
        n_items: item rows, with row 0, the unknown.
        users, items: int64 [m], the pairs that were chosen; repeats do not matter.
        impressions: what each user row was shown, chosen or not; repeats do not matter.
    """

    def __init__(
        self, n_items: int, users: torch.Tensor, items: torch.Tensor, impressions: Histories
    ) -> None:
        shown = (impressions.rows_of_events().astype(np.int64), impressions.items.astype(np.int64))
        shown_users, shown_items = (torch.from_numpy(part).to(items.device) for part in shown)
        passed_over = ~Chosen(n_items, users, items).contains(shown_users, shown_items)
        self.passed_over = Chosen(n_items, shown_users[passed_over], shown_items[passed_over])

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`."""
        first, count = self.passed_over.segment(users)
        place, listed = self.passed_over.find(users, positives)
        skipped = torch.where(listed, place - first, count)
        items = self.passed_over.items
        return draw_from_lists(items, first, count - listed.long(), n, generator, skipped)

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `NegativeSampler`."""
        log_q = -self._count(users, positives).clamp(min=1).double().log().float()
        drawn = self.passed_over.contains(users[:, None], items) & (items != positives[:, None])
        return log_q[:, None].expand(items.shape).masked_fill(~drawn, -torch.inf)

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """1 where there is something to draw, else 0."""
        return (self._count(users, positives) > 0).double()

    def _count(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        _, count = self.passed_over.segment(users)
        return count - self.passed_over.contains(users, positives).long()
