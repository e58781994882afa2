"""Those of whom little is known: their few events and what is popular speak together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Queries
from tastemap.hyperparameters import Hyperparameters, hyperparameter
from tastemap.kernels.fusion import fused
from tastemap.pipeline.arranging import Answers

__all__ = ["RRF", "ShortHistories"]

# Cormack et al. 2009, Reciprocal Rank Fusion (SIGIR): the constant of the paper.
RRF = 60.0


class ShortHistories(Hyperparameters):
    """Joins the answer to a short history with what is popular among people of the same profile.

    The two lists are joined by reciprocal rank fusion, in which a history of n events weighs
    n / (n + prior). A model alone answers one or two events worse than popularity does: see the
    section on strangers in docs/benchmarks.md. Where a ranker orders the candidates, it does not
    apply: the ranker knows how popular they are.
    """

    prior: float = hyperparameter(
        default=2.0, ge=0, help="events of a history that popularity weighs as much as; 0: no join"
    )
    events: int = hyperparameter(
        default=20, ge=0, help="a history of so many events speaks for itself", tuned=False
    )

    def of(self, queries: Queries) -> NDArray[np.int64]:
        """Which of some queries have a history, and a short one."""
        counts = queries.histories.counts
        return np.flatnonzero((counts > 0) & (counts < self.events) & (self.prior > 0))

    def joined(
        self, personal: Answers, popular: Answers, n_events: NDArray[np.int64], k: int
    ) -> Answers:
        """Both lists of each query as one, best first.

        Args:
            personal: what the retrievers say, [Y, d], padded with 0.
            popular: what is popular, [Y, e], padded with 0.
            n_events: of each history, int64 [Y].
            k: places of an answer.

        Returns:
            Answers [Y, k], padded with 0. An item in both lists has the retriever for its
            source, since it is there for a reason that is the asker's own.
        """
        weight = (n_events / (n_events + self.prior))[:, None]
        ranks = [np.arange(1, each.items.shape[1] + 1) for each in (personal, popular)]
        places, gains = fused(
            personal.items,
            popular.items,
            weight / (RRF + ranks[0]),
            (1 - weight) / (RRF + ranks[1]),
            k,
        )
        items = np.take_along_axis(np.hstack([personal.items, popular.items]), places, axis=1)
        sources = np.take_along_axis(np.hstack([personal.sources, popular.sources]), places, axis=1)
        return Answers(np.where(gains > 0, items, 0), gains.astype(np.float32), sources)
