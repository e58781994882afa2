"""What a sampler of negatives gives, and what it promises."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

__all__ = ["NegativeSampler", "Negatives"]


class Negatives(NamedTuple):
    """Items that were drawn as not chosen.

    Attributes:
        ids: int64 [B, n], item rows; 0 where `mask` is False.
        log_q: float32 [B, n], the logarithm of the probability of each item in its draw, given
            that the draw found something; 0 where `mask` is False.
        mask: bool [B, n], False where no negative was found.
    """

    ids: torch.Tensor
    log_q: torch.Tensor
    mask: torch.Tensor


class NegativeSampler(Protocol):
    """Draws items that a user has not chosen, for each of the chosen items of a batch.

    Nothing that the user has chosen is drawn, unless the sampler says so, and never the positive
    itself nor item row 0. All tensors are on the device that the sampler's own are on.
    """

    def sample(
        self, users: torch.Tensor, positives: torch.Tensor, n: int, generator: torch.Generator
    ) -> Negatives:
        """n negatives for each pair, drawn with replacement unless the sampler says otherwise.

        Args:
            users, positives: int64 [B], user rows and the items they chose.
            n: how many.
            generator: of the same device.
        """

    def log_probability(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """ln q of items int64 [B, n], float32 [B, n]; -inf for what is never drawn.

        Column k is about the k-th draw, which matters where draws differ, as in hard sampling.
        """

    def success(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """The probability that a draw for a pair finds an item, float64 [B]."""
