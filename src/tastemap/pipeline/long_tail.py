"""Places of a list that are kept for what few people take."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.hyperparameters import Hyperparameters, hyperparameter

__all__ = ["LongTail", "best_first"]


class LongTail(Hyperparameters):
    """Every so many places the best of the less popular candidates.

    A ranker that learns what people take learns first of all what many take: on movielens-1m its
    lists are right more often than any retriever's and show a quarter of the films that those do.
    So a share of the places, spread evenly over a list of any length, goes by the ranker's log-odds
    less a discount: so many times the logarithm of the item's share of all events. The lists of a
    user together then reach what is seldom shown, and hardly lose (figures in docs/benchmarks.md).
    """

    share: float = hyperparameter(
        default=0.2, ge=0, le=1, help="share of the places; 0 for the ranker's order alone"
    )
    discount: float = hyperparameter(
        default=3.0, ge=0, help="of an item's log-odds there, times its logarithm of popularity"
    )

    def order(
        self,
        candidates: Candidates,
        odds: NDArray[np.float32],
        popularity: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        """The candidates of each query in the order in which they are shown.

        Args:
            candidates: [B], m in all.
            odds: float32 [m], what the ranker says.
            popularity: float32 [m], the logarithm of each item's share of all events.

        Returns:
            int64 [m], positions of candidates, query by query.
        """
        first = best_first(candidates, odds)
        if self.share == 0:
            return first
        others = best_first(candidates, odds - np.float32(self.discount) * popularity)
        shown = np.empty_like(first)
        _take_turns(candidates.offsets, first, others, self.share, shown)
        return shown


def best_first(candidates: Candidates, scores: NDArray[Any]) -> NDArray[np.int64]:
    """Positions of the candidates of each query, the highest score first, int64 [m]."""
    return np.lexsort((candidates.items, -scores, candidates.rows_of_queries()))


@nb.njit(cache=True, nogil=True)
def _take_turns(offsets: Any, first: Any, others: Any, share: float, shown: Any) -> None:
    taken = np.zeros(len(first), np.bool_)
    for query in range(len(offsets) - 1):
        start, stop = offsets[query], offsets[query + 1]
        next_first, next_other = start, start
        for place in range(start, stop):
            # Rounding must not move a place: 0.2 times 5 is 1.
            before = np.floor((place - start) * share + 1e-9)
            if np.floor((place - start + 1) * share + 1e-9) > before:
                while taken[others[next_other]]:
                    next_other += 1
                chosen = others[next_other]
            else:
                while taken[first[next_first]]:
                    next_first += 1
                chosen = first[next_first]
            taken[chosen] = True
            shown[place] = chosen
