"""Negatives that are drawn uniformly."""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["Negatives", "UniformSampler"]


class Negatives(NamedTuple):
    """Items that were drawn as not chosen.

    Attributes:
        ids: int64 [B, n], item rows; 0 where `mask` is False.
        log_q: float32 [B, n], the logarithm of the probability of each item in one draw.
        mask: bool [B, n], False where no negative was found.
    """

    ids: torch.Tensor
    log_q: torch.Tensor
    mask: torch.Tensor


class UniformSampler:
    """Draws each item that a user has not chosen with the same probability, with replacement.

    Items are drawn from all rows but 0, and those the user has chosen are drawn again, so that the
    probability of the others is 1 / (items - items chosen).

    Args:
        n_items: item rows, with row 0, which is never drawn.
        users, items: int64 [m], the pairs that were chosen, in any order; repeats do not matter.
        attempts: how often an item is drawn again before it is masked; a user who has chosen half
            of all items is then left without a negative once in 2**attempts draws.
    """

    def __init__(
        self, n_items: int, users: torch.Tensor, items: torch.Tensor, attempts: int = 16
    ) -> None:
        self.n_items = n_items
        self.attempts = attempts
        pairs = users.long() * n_items + items.long()
        self._pairs = torch.unique(pairs[items > 0])
        chosen_users = torch.div(self._pairs, n_items, rounding_mode="floor")
        self._counts = torch.bincount(chosen_users)

    def sample(self, users: torch.Tensor, n: int, generator: torch.Generator) -> Negatives:
        """n negatives for each user.

        Args:
            users: int64 [B], on the device that `items` was on.
            n: how many.
            generator: of that device.
        """
        ids = self._draw((len(users), n), generator)
        chosen = self._chosen(users[:, None], ids)
        for _ in range(self.attempts):
            if not bool(chosen.any()):
                break
            rows, columns = chosen.nonzero(as_tuple=True)
            again = self._draw((len(rows),), generator)
            ids[rows, columns] = again
            chosen[rows, columns] = self._chosen(users[rows], again)
        left = self.n_items - 1 - self._count(users)
        log_q = -left.clamp(min=1).float().log()
        return Negatives(ids.masked_fill(chosen, 0), log_q[:, None].expand_as(ids).clone(), ~chosen)

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        device = self._pairs.device
        if self.n_items < 2:
            return torch.zeros(shape, dtype=torch.long, device=device)
        return torch.randint(1, self.n_items, shape, generator=generator, device=device)

    def _chosen(self, users: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        pairs = users * self.n_items + ids
        if len(self._pairs) == 0:
            return ids == 0
        at = torch.searchsorted(self._pairs, pairs).clamp(max=len(self._pairs) - 1)
        chosen: torch.Tensor = (self._pairs[at] == pairs) | (ids == 0)
        return chosen

    def _count(self, users: torch.Tensor) -> torch.Tensor:
        if len(self._counts) == 0:
            return torch.zeros_like(users)
        known = users < len(self._counts)
        counts = self._counts[users.clamp(max=len(self._counts) - 1)]
        return torch.where(known, counts, torch.zeros_like(counts))
