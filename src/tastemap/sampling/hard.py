"""Hard negatives: the highest scored of a pool."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import betainc

from tastemap.sampling.fixed import FixedSampler
from tastemap.sampling.negatives import Negatives

__all__ = ["HardSampler", "Scorer"]

Scorer = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Scores, float [B, n], of users int64 [B] for items int64 [B, n]."""


class HardSampler:
    """Draws a pool with replacement and takes the highest scored, past a share that is skipped.

    The items of a pool that score highest teach most (Zhang et al. 2013, dynamic negative
    sampling), but the very highest are often not negatives at all: what the user would choose, and
    did not get to see (Ding et al. 2020; Xiong et al. 2021). So the first ⌊share × pool⌋ are
    skipped, and draw k, from 0, is what stands at place r = ⌊share × pool⌋ + k of the pool, by
    falling score and, among equal scores, by rising item row.

    The probability of that is exact, given the scores: with A_j the probability that the base draws
    something that stands before j, the place r holds j or something before it where more than r of
    the m draws do, so that

        q(j) = P(Bin(m, A_j + q_base(j)) > r) - P(Bin(m, A_j) > r),

    differences of the regularised incomplete beta function. It takes the scores of all items, as
    much work as the full softmax; `draw` does without, for losses that do not ask for it.

    Args:
        base: what the pool is drawn from, without what the user has chosen.
        scorer: the model's current scores; no gradient is taken.
        pool: how many are drawn for each pair, m.
        skipped_share: of the pool, from 0 to below 1: the protection against false negatives.

    Raises:
        ValueError: a pool or share out of range.
    """

    def __init__(
        self, base: FixedSampler, scorer: Scorer, pool: int = 64, skipped_share: float = 0.0
    ) -> None:
        if pool < 1 or not 0 <= skipped_share < 1:
            raise ValueError(
                "HardSampler: pool must be >= 1 and skipped_share from 0 to below 1, "
                f"got {pool} and {skipped_share}"
            )
        self.base, self.scorer, self.pool = base, scorer, pool
        self.skipped = math.floor(skipped_share * pool)

    def draw(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Only ids and mask of `sample`; from pools of some hundred this is much faster.

        Raises:
            ValueError: more are asked for than the pool holds past what is skipped.
        """
        if self.skipped + n > self.pool:
            raise ValueError(
                f"HardSampler: a pool of {self.pool} of which {self.skipped} are skipped does not "
                f"hold {n} negatives"
            )
        ids, _, mask = self.base.sample(users, positives, self.pool, generator)
        # By row first, so that a stable sort by score breaks ties by row.
        ids, order = ids.sort(1)
        mask = mask.gather(1, order)
        with torch.no_grad():
            scores = self.scorer(users, ids).masked_fill(~mask, -torch.inf)
        place = scores.argsort(dim=1, descending=True, stable=True)[
            :, self.skipped : self.skipped + n
        ]
        return ids.gather(1, place), mask.gather(1, place)

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`.

        Raises:
            ValueError: see `draw`.
        """
        ids, mask = self.draw(users, positives, n, generator)
        log_q = self.log_probability(users, positives, ids)
        return Negatives(ids, log_q.masked_fill(~mask, 0), mask)

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `NegativeSampler`; column k is about the draw at place ⌊share × pool⌋ + k."""
        own = self.base.log_probability(users, positives, items).double().exp()
        before = self._mass_before(users, positives, items)
        place = np.arange(self.skipped, self.skipped + items.shape[1])

        def reached(mass: torch.Tensor) -> torch.Tensor:
            """P(Bin(m, mass) > r), for the r of each column."""
            p = mass.clamp(0, 1).cpu().numpy()
            return torch.from_numpy(betainc(place + 1, self.pool - place, p)).to(mass.device)

        return (reached(before + own) - reached(before)).clamp(min=0).log().float()

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """As of the base: a pool finds something where one draw does."""
        return self.base.success(users, positives)

    def _mass_before(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """A_j of items int64 [B, n], float64 [B, n], from the scores of all items."""
        every = torch.arange(1, len(self.base.probabilities), device=items.device)
        every = every.expand(len(users), -1)
        with torch.no_grad():
            scores = self.scorer(users, every)
        mass = self.base.log_probability(users, positives, every).double().exp()
        # By falling score, and by row among equals, which is the order they are in already.
        order = scores.argsort(dim=1, descending=True, stable=True)
        running = mass.gather(1, order).cumsum(1)
        place = order.argsort(1).gather(1, (items - 1).clamp(min=0))
        before = running.gather(1, place) - mass.gather(1, (items - 1).clamp(min=0))
        return before.clamp(min=0)
