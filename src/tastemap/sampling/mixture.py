"""Negatives of several kinds, mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tastemap.sampling.negatives import Negatives, NegativeSampler

__all__ = ["MixtureSampler"]


class MixtureSampler:
    """Draws each negative from one of several samplers, taken at random.

    ln q(j) = ln Σ_k w_k s_k q_k(j) - ln Σ_k w_k s_k, with s_k the probability that sampler k finds
    an item for this pair: a sampler that has nothing for it leaves its share to the others.

    Args:
        samplers: at least one.
        weights: w, as many, >= 0, of any positive sum.

    Raises:
        ValueError: weights that are no such.
    """

    def __init__(self, samplers: Sequence[NegativeSampler], weights: Sequence[float]) -> None:
        if len(samplers) != len(weights) or min(weights, default=-1) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"MixtureSampler: {len(samplers)} samplers need as many weights >= 0 that are not "
                f"all 0, got {list(weights)}"
            )
        self.samplers = list(samplers)
        self.weights = [weight / sum(weights) for weight in weights]

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`."""
        parts = [sampler.sample(users, positives, n, generator) for sampler in self.samplers]
        kind = self._kinds(users, positives, n, generator)
        ids, mask = (
            torch.stack(drawn).gather(0, kind[None])[0]
            for drawn in ([part.ids for part in parts], [part.mask for part in parts])
        )
        log_q = self.log_probability(users, positives, ids)
        return Negatives(ids, log_q.masked_fill(~mask, 0), mask)

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `NegativeSampler`."""
        found = self._found(users, positives)
        log_q = torch.stack([s.log_probability(users, positives, items) for s in self.samplers])
        mixed = torch.logsumexp(found.log()[:, :, None] + log_q, 0)
        return (
            (mixed - found.sum(0).log()[:, None])
            .nan_to_num(nan=-torch.inf, neginf=-torch.inf)
            .float()
        )

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """The probability that the sampler that is taken finds an item."""
        found = self._found(users, positives)
        taken = self._shares(found > 0).sum(0)
        return found.sum(0) / taken.clamp(min=1e-300)

    def _kinds(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> torch.Tensor:
        """Which sampler each draw is from, int64 [B, n], of those that may find something."""
        shares = self._shares(self._found(users, positives) > 0)
        edges = shares.cumsum(0)
        at = torch.rand(
            (len(users), n), generator=generator, device=users.device, dtype=torch.float64
        )
        passed = edges[:, :, None] <= (at * edges[-1][:, None])[None]
        # Never the last one on account of rounding, where it has nothing.
        last = len(self.samplers) - 1 - (shares > 0).flip(0).to(torch.int8).argmax(0)
        return torch.minimum(passed.sum(0), last[:, None])

    def _found(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """w_k s_k, float64 [samplers, B]."""
        success = torch.stack([s.success(users, positives) for s in self.samplers])
        return success * success.new_tensor(self.weights)[:, None]

    def _shares(self, possible: torch.Tensor) -> torch.Tensor:
        """w_k where `possible` (bool [samplers, B]), else 0, float64."""
        weights = torch.tensor(self.weights, dtype=torch.float64, device=possible.device)
        return possible * weights[:, None]
