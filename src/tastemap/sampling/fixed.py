"""What samplers have in common that draw from one distribution over the items for all users."""

from __future__ import annotations

import torch

from tastemap.sampling.chosen import Chosen
from tastemap.sampling.negatives import Negatives

__all__ = ["FixedSampler"]


class FixedSampler:
    """Draws from given probabilities, and again where the user has chosen what was drawn.

    So an item's probability is its own over that of all that is left to the user:
    q(j | u, i) = p_j / (1 - Σ p of i and of what u has chosen).

    Args:
        probabilities: float64 [item rows], p, of sum 1; 0 for row 0.
        chosen: who has chosen what.
        attempts: how often an item is drawn again before it is masked; a user whose items make up
            half of all draws is then left without a negative once in 2**attempts draws.
    """

    def __init__(self, probabilities: torch.Tensor, chosen: Chosen, attempts: int = 16) -> None:
        self.probabilities, self.chosen, self.attempts = probabilities, chosen, attempts
        self._log_p = probabilities.log()
        self._cumulative = probabilities.cumsum(0)
        everything = probabilities.sum()[None]
        # What is left to each user; the last row is for those who have chosen nothing.
        self._left = torch.cat([everything - chosen.sums(probabilities), everything])

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """See `NegativeSampler`."""
        ids = self._draw((len(users), n), generator)
        forbidden = self.chosen.forbids(users[:, None], positives[:, None], ids)
        left = self._mass_left(users, positives)
        for _ in range(self.attempts):
            rows, columns = (forbidden & (left > 0)[:, None]).nonzero(as_tuple=True)
            if len(rows) == 0:
                break
            again = self._draw((len(rows),), generator)
            ids[rows, columns] = again
            forbidden[rows, columns] = self.chosen.forbids(users[rows], positives[rows], again)
        log_q = (self._log_p[ids] - left.log()[:, None]).float()
        return Negatives(ids.masked_fill(forbidden, 0), log_q.masked_fill(forbidden, 0), ~forbidden)

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `NegativeSampler`."""
        log_q = self._log_p[items] - self._mass_left(users, positives).log()[:, None]
        forbidden = self.chosen.forbids(users[:, None], positives[:, None], items)
        return log_q.float().masked_fill(forbidden, -torch.inf)

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """1, or 0 where nothing is left; that all attempts may fail is not counted."""
        return (self._mass_left(users, positives) > 0).double()

    def _mass_left(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """The probability of all that may be drawn for each pair, float64 [B]."""
        left = self._left[users.clamp(max=len(self._left) - 1)]
        # A positive that is not among the chosen is not to be drawn either.
        stranger = ~self.chosen.contains(users, positives)
        left = left - torch.where(stranger, self.probabilities[positives], torch.zeros_like(left))
        # Where all is gone, what is left is rounding.
        return torch.where(left > 1e-12, left, torch.zeros_like(left))

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Items int64 of a shape, by the inverse of the cumulative probabilities."""
        c = self._cumulative
        at = torch.rand(shape, generator=generator, device=c.device, dtype=c.dtype) * c[-1]
        return torch.searchsorted(c, at, right=True).clamp(max=len(c) - 1)
