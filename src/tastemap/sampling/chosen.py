"""Who has chosen what: the one lookup that all samplers share."""

from __future__ import annotations

import torch

__all__ = ["Chosen"]


class Chosen:
    """A set of pairs of users and items, on the device of `items`.

    Args:
        n_items: item rows, with row 0, the unknown.
        users, items: int64 [m], the pairs in any order; repeats do not matter, and neither do
            pairs of item row 0.

    Attributes:
        users, items: int64 [pairs], the distinct pairs by user and item.
        offsets: int64 [users + 1]; those of user u are offsets[u]:offsets[u + 1].
    """

    def __init__(self, n_items: int, users: torch.Tensor, items: torch.Tensor) -> None:
        self.n_items = n_items
        known = items > 0
        self._keys = torch.unique(users[known].long() * n_items + items[known].long())
        self.users = torch.div(self._keys, n_items, rounding_mode="floor")
        self.items = self._keys - self.users * n_items
        counts = torch.bincount(self.users)
        self.offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def find(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where pairs stand, int64, and whether they are there at all, bool, both [...]."""
        keys = users * self.n_items + items
        if len(self._keys) == 0:
            return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
        at = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        return at, self._keys[at] == keys

    def contains(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether pairs of users and items [...] are among the chosen, bool [...]."""
        return self.find(users, items)[1]

    def forbids(
        self, users: torch.Tensor, positives: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """Whether items [...] must not stand as negatives: chosen, the positive, or unknown."""
        return self.contains(users, items) | (items == positives) | (items == 0)

    def segment(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """First place and number of each user's pairs, int64 [B] each; unknown users have none."""
        known = users < len(self.offsets) - 1
        rows = torch.where(known, users, torch.zeros_like(users))
        first = self.offsets[rows]
        stop = self.offsets[(rows + 1).clamp(max=len(self.offsets) - 1)]
        return first, torch.where(known, stop - first, torch.zeros_like(first))

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` float64 [item rows] over the items of each user, float64 [users]."""
        sums = values.new_zeros(len(self.offsets) - 1)
        return sums.index_add_(0, self.users, values[self.items])
