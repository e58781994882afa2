"""Retrievers, filters and fallbacks joined: what a release holds and the service asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import ParameterError
from tastemap.kernels.topk import top_k
from tastemap.pipeline.fallback import Fallback
from tastemap.retrieval.base import Retriever, reasons_of
from tastemap.retrieval.recommender import Recommendations, Recommender
from tastemap.training.run import Run

__all__ = ["Pipeline"]

# Cormack et al. 2009, Reciprocal Rank Fusion (SIGIR): the constant of the paper.
_RRF = 60.0
_TILE = 4096


class Pipeline(Recommender):
    """Candidates of one or more retrievers → filters → fallback → the top k.

    One retriever's order and scores stay as they are. Several are joined by reciprocal rank fusion,
    the sum of 1 / (60 + rank), and an item's source is the retriever that ranked it highest. Places
    that no retriever fills, all of them for a stranger without a history, go to what is popular
    among users of the same profile, or overall.

    Args:
        retrievers: fitted, all on the same data set, or to be fitted by `fit`.
        candidates: how many each retriever proposes, where there are several.

    Raises:
        ParameterError: no retriever, two of one name, or fitted on different data sets.
    """

    def __init__(self, retrievers: Sequence[Retriever], *, candidates: int = 200) -> None:
        names = [retriever.name for retriever in retrievers]
        if not names or len(set(names)) != len(names):
            raise ParameterError(f"a pipeline needs retrievers of different names, got {names}")
        if candidates < 1:
            raise ParameterError(f"Pipeline: candidates must be at least 1, got {candidates}")
        self.retrievers = tuple(retrievers)
        self.candidates = candidates
        fitted = [retriever._data for retriever in retrievers]
        if any(data is not None for data in fitted):
            self._join(fitted)

    def _join(self, fitted: Sequence[Dataset | None]) -> None:
        first = fitted[0]
        same = first is not None and all(
            data is not None
            and data.items == first.items
            and data.users == first.users
            and data.fingerprint == first.fingerprint
            for data in fitted
        )
        if not same or first is None:
            raise ParameterError("a pipeline's retrievers must all be fitted on the same data set")
        self._data = first
        self._fallback = Fallback.fit(first)

    def fit(
        self, dataset: Dataset, *, validation: Holdout | None = None, run: Run | None = None
    ) -> Self:
        """Fits each retriever, and the fallback."""
        for retriever in self.retrievers:
            retriever.fit(dataset, validation=validation, run=run)
        self._join([retriever.data for retriever in self.retrievers])
        return self

    @property
    def name(self) -> str:
        """The names of its retrievers, joined by "+"."""
        return "+".join(retriever.name for retriever in self.retrievers)

    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        data = self.data
        k = min(k, len(data.items))
        source_names = [retriever.name for retriever in self.retrievers] + self._fallback.names
        items = np.zeros((len(queries), k), np.int32)
        scores = np.zeros((len(queries), k), np.float32)
        sources = np.zeros((len(queries), k), np.uint8)
        for start, tile in queries.tiles(_TILE):
            rows = slice(start, start + len(tile))
            found = self._candidates(tile, k, exclude_seen, among)
            items[rows], scores[rows], sources[rows] = self._filled(
                tile, *found, exclude_seen, among
            )
        return Recommendations.from_padded(items, scores, sources, source_names)

    def _candidates(
        self, queries: Queries, k: int, exclude_seen: bool, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        """The best k of all retrievers: items, scores and sources, each [B, k], padded with 0."""
        depth = k if len(self.retrievers) == 1 else max(k, self.candidates)
        proposals = [
            retriever.answer(queries, depth, exclude_seen, among) for retriever in self.retrievers
        ]
        row_parts, item_parts, score_parts, source_parts = [], [], [], []
        for source, proposal in enumerate(proposals):
            # Source 1 of a model is its own popularity; the fallback knows the profile too.
            kept = proposal.sources == 0
            if self.retrievers[source].zero_is_no_evidence:
                kept &= proposal.scores > 0
            rows = np.repeat(np.arange(len(queries)), proposal.counts)
            rank = np.arange(len(rows)) - np.repeat(proposal.offsets[:-1], proposal.counts) + 1
            fused = len(self.retrievers) > 1
            score = 1.0 / (_RRF + rank) if fused else proposal.scores
            row_parts.append(rows[kept])
            item_parts.append(proposal.items[kept])
            score_parts.append(score[kept])
            source_parts.append(np.full(int(kept.sum()), source, np.uint8))
        return _fuse(
            np.concatenate(row_parts),
            np.concatenate(item_parts),
            np.concatenate(score_parts),
            np.concatenate(source_parts),
            len(queries),
            k,
        )

    def _filled(
        self,
        queries: Queries,
        items: NDArray[np.int32],
        scores: NDArray[np.float32],
        sources: NDArray[np.uint8],
        exclude_seen: bool,
        among: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        short = np.flatnonzero(items[:, -1] == 0)
        if len(short) == 0:
            return items, scores, sources
        k = items.shape[1]
        asked = queries.take(short)
        group = self._fallback.choose(asked)
        chosen = Histories.from_lists(items[short])
        left_out = chosen.append(asked.histories) if exclude_seen else chosen
        # Scored a tile at a time, as the shares of a million items for all would not fit.
        for start in range(0, len(short), 256):
            tile = slice(start, min(start + 256, len(short)))
            fill, fill_scores = top_k(
                self._fallback.shares[group[tile]],
                k,
                excluded=left_out.slice(tile.start, tile.stop),
                allowed=among,
            )
            rows = short[tile]
            empty = items[rows] == 0
            # Place p of a row with c candidates takes the (p - c)-th popular item.
            source_place = np.cumsum(empty, axis=1) - 1
            taken = np.take_along_axis(fill, np.maximum(source_place, 0), axis=1)
            taken_scores = np.take_along_axis(fill_scores, np.maximum(source_place, 0), axis=1)
            items[rows] = np.where(empty, taken, items[rows])
            scores[rows] = np.where(empty, taken_scores, scores[rows])
            of_group = (len(self.retrievers) + group[tile])[:, None]
            sources[rows] = np.where(empty, of_group, sources[rows]).astype(np.uint8)
        return items, scores, sources

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.retrievers[0].similarity(items)

    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        return reasons_of(self.retrievers, queries, recommendations)

    def _frame(self, answers: Recommendations, whose: pl.Series) -> pl.DataFrame:
        return super()._frame(answers, whose).with_columns(answers.source_series())

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the fitted pipeline to a directory that `tastemap.load` reads.

        Raises:
            ReleaseError: something else is in the way.
        """
        from tastemap.pipeline.saved import save_pipeline

        return save_pipeline(self, Path(path), overwrite=overwrite)


def _fuse(
    rows: NDArray[np.int64],
    items: NDArray[np.int32],
    scores: NDArray[np.float64],
    sources: NDArray[np.uint8],
    n: int,
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
    """Adds up the scores of equal (row, item) pairs and keeps the k best of each row, [n, k]."""
    # The strongest proposal of a pair first, so that `unique` finds its source.
    order = np.lexsort((-scores, items, rows))
    pair = rows[order].astype(np.int64) << 32 | items[order]
    _, first, place = np.unique(pair, return_index=True, return_inverse=True)
    total = np.bincount(place, scores[order], len(first))
    kept = order[first]
    rows, items, sources = rows[kept], items[kept], sources[kept]
    best = np.lexsort((items, -total, rows))
    rows, items, sources, total = rows[best], items[best], sources[best], total[best]
    starts = np.searchsorted(rows, np.arange(n))
    place = np.arange(len(rows)) - starts[rows]
    shown = place < k
    out_items, out_sources = np.zeros((n, k), np.int32), np.zeros((n, k), np.uint8)
    out_scores = np.zeros((n, k), np.float32)
    out_items[rows[shown], place[shown]] = items[shown]
    out_scores[rows[shown], place[shown]] = total[shown]
    out_sources[rows[shown], place[shown]] = sources[shown]
    return out_items, out_scores, out_sources
