"""How a pipeline answers: candidates in their order, rules, and what is popular behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.index import Index
from tastemap.pipeline.arranging import Answers, arranged, groups_of
from tastemap.pipeline.candidates import best_of, candidates_of
from tastemap.pipeline.fallback import Fallback
from tastemap.pipeline.long_tail import best_first
from tastemap.pipeline.ranking_stage import RankingStage
from tastemap.pipeline.short_histories import RRF, ShortHistories
from tastemap.pipeline.stages import StageError, Stages
from tastemap.policy.policy import Allowed, Policy
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.recommender import Recommendations

__all__ = ["Answering"]

_TILE = 4096
_NONE = np.empty(0, np.int64)
# Fewer at a time where rules may look at thousands of candidates of each.
_ARRANGED = 512


@dataclass(frozen=True, eq=False)
class Answering:
    """One call of `Pipeline.answer`: its parts as they stand when it begins, and how it is asked.

    Attributes:
        retrievers: fitted, all on the same data set.
        indices: by name of a retriever the index that it is asked through.
        candidates: how many each retriever proposes, where there are several or there is a ranker.
        stage: the fitted ranker, or None.
        short_histories: how a short history is joined with what is popular, without a ranker.
        fallback: what is popular.
        policy: the rules at work, or None.
        item_rows: of the data set.
        exclude_seen: whether what stands in a history is left out.
        stages: what runs a retriever each, and "ranker".
    """

    retrievers: tuple[Retriever, ...]
    indices: Mapping[str, Index]
    candidates: int
    stage: RankingStage | None
    short_histories: ShortHistories
    fallback: Fallback
    policy: Policy | None
    item_rows: int
    exclude_seen: bool
    stages: Stages

    def answer(self, queries: Queries, k: int, among: NDArray[np.bool_] | None) -> Recommendations:
        """The first k places of each query; `among` is a mask by item row, or None for all."""
        k = min(k, self.item_rows)
        answers = Answers.empty(len(queries), k)
        arranges = self.policy is not None and self.policy.arranges
        for start, tile in queries.tiles(_ARRANGED if arranges else _TILE):
            for allowed in groups_of(self.policy, tile, among):
                answers.put(start + allowed.rows, self._answered(allowed, k))
        names = [*self._sources, "pinned"] if self.policy is not None else self._sources
        return Recommendations.from_padded(answers.items, answers.scores, answers.sources, names)

    @property
    def _sources(self) -> list[str]:
        return [retriever.name for retriever in self.retrievers] + self.fallback.names

    def _answered(self, allowed: Allowed, k: int) -> Answers:
        """The first k places of queries that may be shown the same items."""
        policy, queries, mask = self.policy, allowed.queries, allowed.mask
        if policy is None or not policy.arranges:
            if policy is not None:
                policy.record(allowed)
            return self._filled(queries, self._candidates(queries, k, mask), mask)
        found = self._candidates(queries, self._depth(k), mask)
        sources = len(self._sources)
        return arranged(policy, allowed, found, k, self.exclude_seen, self._filled, sources)

    def _depth(self, k: int) -> int:
        return min(max(k, self.candidates), self.item_rows)

    def _candidates(self, queries: Queries, k: int, among: NDArray[np.bool_] | None) -> Answers:
        """The best k of all retrievers, and for short histories of what is popular."""
        short = self.short_histories.of(queries) if self.stage is None else _NONE
        if len(short) == 0:
            return self._retrieved(queries, k, among)
        personal = self._retrieved(queries, self._depth(k), among)
        everybody = len(short) == len(queries)
        some = queries if everybody else queries.take(short)
        popular = self._popular(some, self._depth(k), among)
        mine = personal if everybody else personal.take(short)
        joined = self.short_histories.joined(mine, popular, some.histories.counts, k)
        if everybody:
            return joined
        answers = personal.first(k)
        answers.put(short, joined)
        return answers

    def _retrieved(self, queries: Queries, k: int, among: NDArray[np.bool_] | None) -> Answers:
        """The best k of all retrievers."""
        how = self.exclude_seen, among, self.indices, self.stages
        if len(self.retrievers) == 1 and self.stage is None:
            alone = best_of(self.retrievers[0], queries, k, *how)
            return _first(alone, alone.scores[:, 0], np.arange(len(alone.items)), k)
        proposed = candidates_of(self.retrievers, queries, max(k, self.candidates), *how)
        if self.stage is not None:
            try:
                ranked = self.stages.run("ranker", self.stage.ranked, queries, proposed)
                return _first(proposed, *ranked, k)
            except StageError:
                pass  # the retrievers' order is an answer too
        if len(self.retrievers) == 1:
            scores: NDArray[Any] = proposed.scores[:, 0]
        else:
            scores = np.nansum(1.0 / (RRF + proposed.ranks.astype(np.float64)), axis=1)
        return _first(proposed, scores, best_first(proposed, scores), k)

    def _filled(
        self, queries: Queries, answers: Answers, among: NDArray[np.bool_] | None
    ) -> Answers:
        """Fills empty places with what is popular."""
        items, scores, sources = answers.items, answers.scores, answers.sources
        short = np.flatnonzero(items[:, -1] == 0)
        if len(short) == 0:
            return answers
        asked = queries.take(short)
        chosen = Histories.from_lists([row[row > 0] for row in items[short]])
        popular = self._popular(asked, items.shape[1], among, chosen)
        empty = items[short] == 0
        # Place p of a row with c candidates takes the (p - c)-th popular item.
        place = np.maximum(np.cumsum(empty, axis=1) - 1, 0)
        for mine, theirs in (
            (items, popular.items),
            (scores, popular.scores),
            (sources, popular.sources),
        ):
            mine[short] = np.where(empty, np.take_along_axis(theirs, place, axis=1), mine[short])
        return answers

    def _popular(
        self,
        queries: Queries,
        k: int,
        among: NDArray[np.bool_] | None,
        chosen: Histories | None = None,
    ) -> Answers:
        """What is popular with people like each, without the items of `chosen` [B]."""
        group = self.fallback.choose(queries)
        left_out = queries.excluded(self.exclude_seen)
        if chosen is not None:
            left_out = chosen if left_out is None else chosen.append(left_out)
        if left_out is None:
            left_out = Histories.empty(len(queries))
        sources = np.repeat(len(self.retrievers) + group, k).reshape(-1, k).astype(np.uint8)
        return Answers(*self.fallback.best(group, k, left_out, among), sources)


def _first(proposed: Candidates, scores: NDArray[Any], order: NDArray[np.int64], k: int) -> Answers:
    """The first k of each query with their scores and sources."""
    places = np.arange(k)
    at = places < proposed.counts[:, None]
    best = order[(proposed.offsets[:-1, None] + places)[at]]
    answers = Answers.empty(len(proposed), k)
    answers.items[at], answers.scores[at] = proposed.items[best], scores[best]
    # Each candidate has a source, which is the one that ranked it highest.
    ranks = np.nan_to_num(proposed.ranks[best], nan=np.inf)
    answers.sources[at] = ranks.argmin(axis=1) if len(best) else 0
    return answers
