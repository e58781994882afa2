"""Answers under a policy: the first places of candidates, and of what is popular behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Queries
from tastemap.policy.policy import Allowed, Policy

__all__ = ["Answers", "arranged", "groups_of"]

# So many candidates of a query are looked at where caps pass most of them over.
_DEEPEST = 20_000


@dataclass(frozen=True, eq=False)
class Answers:
    """Items with their scores and sources, in their order.

    Attributes:
        items: int32 [B, k], item rows, padded with 0.
        scores: float32 [B, k].
        sources: uint8 [B, k].
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    sources: NDArray[np.uint8]

    @classmethod
    def empty(cls, n: int, k: int) -> Answers:
        """n answers without items, with k places."""
        return cls(
            np.zeros((n, k), np.int32), np.zeros((n, k), np.float32), np.zeros((n, k), np.uint8)
        )

    def take(self, rows: NDArray[Any]) -> Answers:
        """Some of the answers."""
        return Answers(self.items[rows], self.scores[rows], self.sources[rows])

    def put(self, rows: NDArray[Any], answers: Answers) -> None:
        """Writes answers of as many places in the place of some."""
        self.items[rows], self.scores[rows] = answers.items, answers.scores
        self.sources[rows] = answers.sources

    def first(self, k: int) -> Answers:
        """The first k places."""
        return Answers(self.items[:, :k], self.scores[:, :k], self.sources[:, :k])

    def widened(self, places: int) -> Answers:
        """With more, empty, places at the end."""
        n, k = self.items.shape
        wide = Answers.empty(n, places)
        wide.items[:, :k], wide.scores[:, :k] = self.items, self.scores
        wide.sources[:, :k] = self.sources
        return wide


Fill = Callable[[Queries, Answers, NDArray[np.bool_] | None], Answers]
"""Fills empty places with what is popular and not there yet, of what a mask lets through."""


def groups_of(
    policy: Policy | None, queries: Queries, among: NDArray[np.bool_] | None
) -> Iterable[Allowed]:
    """Queries by what they may be shown: all together, where there is no policy."""
    if policy is not None:
        return policy.allowed(queries, among)
    return [Allowed(np.arange(len(queries)), queries, among, np.zeros(0, np.int64))]


def arranged(
    policy: Policy,
    allowed: Allowed,
    candidates: Answers,
    k: int,
    exclude_seen: bool,
    fill: Fill,
    pinned: int,
) -> Answers:
    """The first k places under boosts, pins and caps, counted.

    Args:
        policy: which arranges.
        allowed: the queries.
        candidates: in their order, [B, at least k].
        k: places.
        exclude_seen: whether what was seen may not be pinned.
        fill: for answers that are short.
        pinned: the source of pinned items.
    """
    best = Answers.empty(len(allowed.rows), k)
    moved = np.zeros((len(allowed.rows), len(policy)), np.int64)
    rows, queries, width = np.arange(len(allowed.rows)), allowed.queries, candidates.items.shape[1]
    filled = False
    while True:
        found = policy.arrange(
            candidates.items,
            k,
            queries,
            mask=allowed.mask,
            excluded=queries.excluded(exclude_seen),
        )
        moved[rows] = found.moved
        at = np.maximum(found.columns, 0)
        best.put(
            rows,
            Answers(
                found.items,
                # A pinned item that nobody proposed has no score.
                np.where(found.columns >= 0, np.take_along_axis(candidates.scores, at, 1), 0),
                np.where(found.pinned, pinned, np.take_along_axis(candidates.sources, at, 1)),
            ),
        )
        short = found.items[:, -1] == 0
        if filled:  # those whose places were not all filled have all there is
            short &= candidates.items[:, -1] > 0
        if not short.any() or width >= _DEEPEST:
            break
        some = np.flatnonzero(short)
        rows, queries, width, filled = rows[some], queries.take(some), 4 * width, True
        candidates = fill(queries, candidates.take(some).widened(width), allowed.mask)
    policy.record(allowed, moved)
    return best
