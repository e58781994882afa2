"""Negatives that are the positives of others in the batch."""

from __future__ import annotations

import torch

from tastemap.sampling.chosen import Chosen
from tastemap.sampling.fixed import FixedSampler
from tastemap.sampling.negatives import Negatives
from tastemap.sampling.popularity import popularity_of

__all__ = ["InBatchSampler"]


class InBatchSampler(FixedSampler):
    """Takes the positives of other pairs of the batch, each at most once for a pair.

    Where batches are made of events at random, such a draw is one from the distribution of events,
    p_j ∝ n_j; accidental hits, what the user has chosen, are masked, and the probability is that of
    a draw that is not masked, as in `PopularitySampler` with α = 1 (Yi et al. 2019, section 4,
    estimate the same p from a stream). Of a batch of B at most B - 1 draws find something.

    Args:
        n_items: item rows, with row 0, the unknown.
        users, items: int64 [m], the events that batches are made of; repeats count.
    """

    def __init__(self, n_items: int, users: torch.Tensor, items: torch.Tensor) -> None:
        p = popularity_of(torch.bincount(items, minlength=n_items), 1.0)
        super().__init__(p, Chosen(n_items, users, items))

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`."""
        size = len(users)
        # Row b gets what stands s rows on, for n different s: others than itself, each once.
        order = torch.randperm(max(size - 1, 0), generator=generator, device=users.device)
        others = torch.arange(size, device=users.device)[:, None] + 1 + order[:n]
        ids = positives[others % max(size, 1)]
        forbidden = self.chosen.forbids(users[:, None], positives[:, None], ids)
        log_q = (self._log_p[ids] - self._mass_left(users, positives).log()[:, None]).float()
        found = Negatives(
            ids.masked_fill(forbidden, 0), log_q.masked_fill(forbidden, 0), ~forbidden
        )
        missing = n - ids.shape[1]
        if missing > 0:
            found = Negatives(*(torch.nn.functional.pad(part, (0, missing)) for part in found))
        return found

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """The share of events that are no accidental hit, in a batch that is large enough."""
        return self._mass_left(users, positives)
