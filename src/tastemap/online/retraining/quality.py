"""How well a release does live: how often it shows what a user takes next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tastemap.data.queries import Holdout
from tastemap.data.splits import Split
from tastemap.evaluation import evaluate
from tastemap.retrieval.recommender import Recommender

__all__ = ["HitRate", "next_hit_rate"]

_METRIC = "hit_rate@10"


@dataclass(frozen=True)
class HitRate:
    """The share of users whose next new item was among the first ten.

    Attributes:
        value: the share.
        low, high: the ends of its bootstrap interval over users.
        n_users: who was asked.
    """

    value: float
    low: float
    high: float
    n_users: int

    def fell(self, expected: float, share: float) -> bool:
        """Whether it is surely lower than expected, by more than a share of that."""
        return self.high < (1 - share) * expected


def next_hit_rate(asked: Recommender, split: Split) -> HitRate:
    """Each user of the test part is asked for at the moment of their first event there, in its
    circumstances, with all that they had done by then, as the service would be.

    One item of each user, however long the part is, so that figures of parts of different lengths
    can be compared.
    """
    # Of a user's questions the first is that of their first event (`newest`).
    queries, truth = split.test.queries, split.test.truth
    rows = np.unique(queries.users, return_index=True)[1]
    first = truth.offsets[rows]
    one = truth.parts(first, first + 1)
    holdout = Holdout(replace(queries.take(rows), as_of=one.times), one)
    report = evaluate(asked, replace(split, test=holdout), _METRIC)
    low, high = report.intervals[_METRIC] or (np.nan, np.nan)
    return HitRate(report[_METRIC], low, high, report.n_users)
