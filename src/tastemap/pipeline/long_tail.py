"""Places of a list that are kept for what few people take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.hyperparameters import Hyperparameters, hyperparameter
from tastemap.kernels.chance import gumbel_of_pairs
from tastemap.kernels.ragged import in_order, take_turns

__all__ = ["LongTail", "best_first"]


class LongTail(Hyperparameters):
    """Every so many places the best of the less popular candidates.

    A ranker that learns what people take learns first of all what many take: on movielens-1m its
    lists are right more often than any retriever's and show a quarter of the films that those do.
    So a share of the places, spread evenly over a list of any length, goes by the ranker's log-odds
    less a discount: so many times the logarithm of the item's share of all events; and by chance
    (a draw from the softmax of that, the same whenever the same user is asked about), so that lists
    of different people show different things there. All lists together then reach what is seldom
    shown, and hardly lose (figures in docs/benchmarks.md).
    """

    share: float = hyperparameter(
        default=0.1, ge=0, le=1, help="share of the places; 0 for the ranker's order alone"
    )
    discount: float = hyperparameter(
        default=3.0, ge=0, help="of an item's log-odds there, times its logarithm of popularity"
    )
    chance: float = hyperparameter(
        default=1.0, ge=0, help="how much chance decides there: the temperature of a softmax; 0 "
        "for the best alone"
    )  # fmt: skip

    def order(
        self,
        users: NDArray[np.int32],
        candidates: Candidates,
        odds: NDArray[np.float32],
        popularity: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        """The candidates of each query in the order in which they are shown.

        Args:
            users: int32 [B], who asks.
            candidates: [B], m in all.
            odds: float32 [m], what the ranker says.
            popularity: float32 [m], the logarithm of each item's share of all events.

        Returns:
            int64 [m], positions of candidates, query by query.
        """
        first = best_first(candidates, odds)
        if self.share == 0:
            return first
        worth = odds - np.float32(self.discount) * popularity
        if self.chance:
            drawn = gumbel_of_pairs(candidates.offsets, users, candidates.items)
            worth += np.float32(self.chance) * drawn
        others = best_first(candidates, worth)
        return take_turns(candidates.offsets, first, others, self.share)


def best_first(candidates: Candidates, scores: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the candidates of each query, the highest score first, int64 [m]."""
    return in_order(candidates.offsets, -scores, candidates.items)
