"""Negatives by the hierarchy of events: a purchase beats a view, a view beats an impression."""

from __future__ import annotations

import torch

from tastemap.sampling.chosen import Chosen
from tastemap.sampling.mixture import MixtureSampler
from tastemap.sampling.negatives import Negatives, NegativeSampler
from tastemap.sampling.own import draw_from_lists

__all__ = ["HierarchySampler", "LowerLevelSampler"]


class LowerLevelSampler:
    """Draws from the user's own items of a lower level than the positive has.

    Uniformly and with replacement. The level of an item for a user is that of its highest event.
    Pairs without such items, as those of the lowest level are, have no negatives.

    Args:
        n_items: item rows, with row 0, the unknown.
        users, items: int64 [m], the events.
        levels: int64 [m], of each event, from 0; a higher one beats a lower one.
    """

    def __init__(
        self, n_items: int, users: torch.Tensor, items: torch.Tensor, levels: torch.Tensor
    ) -> None:
        self.chosen = Chosen(n_items, users, items)
        place, known = self.chosen.find(users, items)
        self.levels = torch.zeros_like(self.chosen.items)
        self.levels.scatter_reduce_(0, place[known], levels[known].long(), "amax")
        self._n_levels = int(levels.max()) + 1 if len(levels) else 1
        # The lists once more, by level within each user: what is lower stands before.
        keys = self.chosen.users * self._n_levels + self.levels
        self._keys, order = torch.sort(keys, stable=True)
        self._items = self.chosen.items[order]

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`."""
        first, count = self._lower(users, positives)
        return draw_from_lists(self._items, first, count, n, generator)

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `NegativeSampler`."""
        _, count = self._lower(users, positives)
        log_q = -count.clamp(min=1).double().log().float()
        level = self._level(users[:, None], items)
        drawn = (level >= 0) & (level < self._level(users, positives)[:, None])
        return log_q[:, None].expand(items.shape).masked_fill(~drawn, -torch.inf)

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """1 where there is something to draw, else 0."""
        return (self._lower(users, positives)[1] > 0).double()

    def _level(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The levels of pairs [...], int64 [...]; -1 for what was not chosen."""
        place, known = self.chosen.find(users, items)
        if len(self.levels) == 0:
            return torch.full_like(place, -1)
        return torch.where(known, self.levels[place], torch.full_like(place, -1))

    def _lower(
        self, users: torch.Tensor, positives: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where each user's list begins, and how many of its items are of a lower level."""
        first, _ = self.chosen.segment(users)
        level = self._level(users, positives).clamp(min=0)
        stop = torch.searchsorted(self._keys, users * self._n_levels + level)
        return first, (stop - first).clamp(min=0)


class HierarchySampler(MixtureSampler):
    """Draws a share of the negatives from the user's own weaker events, the others from elsewhere.

    Loni et al. 2016, "Bayesian Personalized Ranking with Multi-Channel User Feedback" (RecSys),
    section 3.2: for a positive of a high level, negatives are drawn from lower levels and from what
    was not observed at all.

    Args:
        unseen: draws what the user has chosen at no level, such as a `UniformSampler` of all
            events.
        n_items, users, items, levels: see `LowerLevelSampler`.
        share: of the draws that are from lower levels, from 0 to 1, where there are such items.
    """

    def __init__(
        self,
        unseen: NegativeSampler,
        n_items: int,
        users: torch.Tensor,
        items: torch.Tensor,
        levels: torch.Tensor,
        share: float = 0.5,
    ) -> None:
        lower = LowerLevelSampler(n_items, users, items, levels)
        super().__init__([lower, unseen], [share, 1 - share])
