"""Evaluation of a model or pipeline on held-out events, over the full catalogue."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.splits import Split
from tastemap.errors import ParameterError
from tastemap.evaluation.background import Background, item_features
from tastemap.evaluation.report import Report
from tastemap.evaluation.summary import check_bootstrap, summarize
from tastemap.evaluation.tally import Tally, Tile
from tastemap.kernels.topk import top_k
from tastemap.metrics import Metric, win_rates
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.recommender import Recommender

__all__ = ["DEFAULT_METRICS", "evaluate", "popular_lists"]

DEFAULT_METRICS = ("ndcg@10", "recall@20", "coverage@10")
_TILE = 4096


def evaluate(
    model: Recommender,
    data: Split | Holdout,
    metrics: str | Metric | Iterable[str | Metric] = DEFAULT_METRICS,
    *,
    part: Literal["test", "validation"] = "test",
    exclude_seen: bool = True,
    min_value: float | None = None,
    item_features: NDArray[Any] | str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    tile_size: int | None = None,
    name: str | None = None,
) -> Report:
    """Judges a fitted model, or a pipeline, by what held-out users did next.

    Every item of the catalogue competes; nothing is sampled. Queries are scored in tiles, so memory
    does not grow with their number, and the tiles' size changes nothing. A query about which a
    model knows nothing is answered by popularity, as `recommend` would answer it. Queries without a
    true item are left out.

    Args:
        model: fitted on the training part of `data`.
        data: a split, or one held-out part of it.
        metrics: texts such as "ndcg@10", "auc" or "rmse"; `tastemap.metrics.METRICS` lists them.
        part: which part of a split.
        exclude_seen: leave the items of a query's history out of its list. A true item that was
            seen before then cannot be found, and still counts as relevant.
        min_value: only true events of at least this value are relevant; all by default. RMSE and
            MAE always look at all events.
        item_features: for "intra_list_diversity": an array [item rows, d], or the name of a column
            of the item table; by default its column genres, categories or tags.
        confidence: of the bootstrap intervals over users.
        resamples: how many times users are drawn for them.
        tile_size: queries to score at a time; by default as many as fit a few dozen megabytes.
        name: what the report calls the model.

    Raises:
        ParameterError: an unknown metric or part, no true item at all, a model of other items, a
            metric that the model cannot give (AUC of a pipeline, ratings of a ranker), or scores
            that are NaN.
        NotFittedError: the model was not fitted.
    """
    started = time.perf_counter()
    asked = Metric.parse_all(metrics)
    check_bootstrap(confidence, resamples)
    if not isinstance(model, Recommender):
        raise ParameterError(
            f"cannot evaluate a {type(model).__name__}: give a model or a pipeline, or use "
            "evaluate_frame for recommendations from elsewhere"
        )
    holdout, train, described, fingerprint = _resolve(model, data, part)
    judge = _Judge(model, asked, train, exclude_seen, min_value, item_features)
    holdout = _answerable(holdout)
    size = judge.tile_size() if tile_size is None else tile_size
    if size < 1:
        raise ParameterError(f"tile_size must be at least 1, got {tile_size!r}")
    for start, queries in holdout.queries.tiles(size):
        judge.add(queries, holdout.truth.slice(start, start + len(queries)))
    return summarize(
        judge.tally,
        asked,
        users=pl.Series(train.users.take(holdout.queries.users)),
        confidence=confidence,
        resamples=resamples,
        model=name or getattr(model, "name", type(model).__name__),
        part=part,
        split=described,
        fingerprint=fingerprint,
        exclude_seen=exclude_seen,
        min_value=min_value,
        started=started,
    )


class _Judge:
    """Asks a model about tiles of queries and tallies how it did."""

    def __init__(
        self,
        model: Recommender,
        asked: list[Metric],
        train: Dataset,
        exclude_seen: bool,
        min_value: float | None,
        features: NDArray[Any] | str | None,
    ) -> None:
        self.model = model
        self.train = train
        self.exclude_seen = exclude_seen
        self.min_value = min_value
        diverse = any(metric.name == "intra_list_diversity" for metric in asked)
        self.background = Background.of_events(
            train.histories.rows_of_events(),
            train.histories.items,
            train.n_items,
            len(train.items),
            item_features(train, features) if diverse else None,
        )
        self.background.check(asked)
        self.tally = Tally(asked, self.background)
        names = {metric.name for metric in asked}
        self.rates = "auc" in names
        self.ratings = bool(names & {"rmse", "mae"})
        self.k = min(max((metric.k or 0 for metric in asked), default=0), train.n_items)
        self.expected_k = max((x.k or 0 for x in asked if x.name == "serendipity"), default=0)
        if isinstance(model, Retriever):
            return
        for wanted, metric, why in (
            (self.rates, "auc", "scores of the whole catalogue, and it only gives lists"),
            (self.ratings, "rmse and mae", "predicted ratings, and it only gives lists"),
        ):
            if wanted:
                raise ParameterError(
                    f"{metric} of {type(model).__name__}: needs {why}; evaluate its retrievers"
                )

    def tile_size(self) -> int:
        return self.model.tile_size() if isinstance(self.model, Retriever) else _TILE

    def add(self, queries: Queries, truth: Histories) -> None:
        relevant = truth if self.min_value is None else truth.select(truth.values >= self.min_value)
        seen = queries.histories if self.exclude_seen else None
        lists, rates = self._answers(queries, relevant, seen)
        expected = None
        if self.expected_k:
            expected = popular_lists(self.background, len(queries), self.expected_k, seen)
        errors = self._errors(queries, truth) if self.ratings else None
        self.tally.add(Tile(lists, relevant, queries.histories, expected, rates, truth, errors))

    def _answers(
        self, queries: Queries, relevant: Histories, seen: Histories | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float64] | None]:
        """Lists int32 [b, k] and, for AUC, what `win_rates` says of each relevant event."""
        if not self.k and not self.rates:
            return np.zeros((len(queries), 0), np.int32), None
        if not isinstance(self.model, Retriever):
            answers = self.model.answer(queries, self.k, self.exclude_seen)
            return answers.padded(self.k), None
        scores, _ = self.model.score_or_popularity(queries)
        if np.isnan(scores[:, 1:]).any():
            row, column = np.argwhere(np.isnan(scores[:, 1:]))[0]
            user, item = self.train.users.ids(queries.users[[row]])[0], column + 1
            raise ParameterError(
                f"{type(self.model).__name__} scored item "
                f"{self.train.items.ids([item])[0]!r} NaN for user {user!r}; was its fit diverging?"
            )
        lists = np.zeros((len(queries), 0), np.int32)
        if self.k:
            lists, _ = top_k(scores, self.k, excluded=seen)
        if not self.rates:
            return lists, None
        if seen is not None:
            scores = scores.copy()
            scores[seen.rows_of_events(), seen.items] = -np.inf
        return lists, win_rates(scores, relevant.offsets, relevant.items)

    def _errors(self, queries: Queries, truth: Histories) -> NDArray[np.float64]:
        """Predicted minus true value of each true event, float64 [m]."""
        assert isinstance(self.model, Retriever)
        predicted = self.model.predict_pairs(
            queries,
            truth.rows_of_events(),
            truth.items,
            truth.times if self.train.has_times else None,
        )
        if not np.isfinite(predicted).all():
            raise ParameterError(
                f"{type(self.model).__name__} predicted a rating that is not finite; was its fit "
                "diverging?"
            )
        return np.asarray(predicted, np.float64) - truth.values


def popular_lists(
    background: Background, n: int, k: int, seen: Histories | None
) -> NDArray[np.int32]:
    """The k items with most users that each of n users does not have yet, int32 [n, k]."""
    assert background.popularity is not None
    n_rows = len(background.popularity)
    scores = np.broadcast_to(background.popularity.astype(np.float32), (n, n_rows))
    in_catalogue = np.arange(n_rows) <= background.n_items
    return top_k(scores, k, excluded=seen, allowed=in_catalogue)[0]


def _resolve(
    model: Recommender, data: Split | Holdout, part: str
) -> tuple[Holdout, Dataset, str, str]:
    """The held-out part, the training data, and what the report says about the split."""
    if part not in ("test", "validation"):
        raise ParameterError(f'part must be "test" or "validation", got {part!r}')
    if isinstance(data, Holdout):
        return data, model.data, "a held-out part on its own", _fingerprint(data)
    if not isinstance(data, Split):
        raise ParameterError(f"data must be a split or a held-out part, not {type(data).__name__}")
    holdout = data.test if part == "test" else data.validation
    if holdout is None:
        raise ParameterError("the split has no validation part: ask the splitter for one")
    if model.items != data.train.items:
        raise ParameterError(
            f"the model knows {len(model.items) - 1:,} items and the split {data.train.n_items:,}, "
            "or in another order: fit it on split.train"
        )
    return holdout, data.train, data.description, data.fingerprint


def _answerable(holdout: Holdout) -> Holdout:
    kept = np.flatnonzero(holdout.truth.counts > 0)
    if len(kept) == 0:
        raise ParameterError("there is nothing to evaluate: no query has a true item")
    if len(kept) == len(holdout):
        return holdout
    return Holdout(holdout.queries.take(kept), holdout.truth.take(kept))


def _fingerprint(holdout: Holdout) -> str:
    digest = hashlib.sha256(holdout.queries.users.tobytes())
    for events in (holdout.queries.histories, holdout.truth):
        for array in (events.offsets, events.items, events.values):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
