"""Evaluation of anybody's recommendations and predicted ratings, given as frames."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.errors import DataError, ParameterError
from tastemap.evaluation.background import Background
from tastemap.evaluation.columns import (
    Pairs,
    attributes,
    ordered_lists,
    read_pairs,
    shared_rows,
)
from tastemap.evaluation.protocol import DEFAULT_METRICS, popular_lists
from tastemap.evaluation.report import Report
from tastemap.evaluation.summary import check_bootstrap, summarize
from tastemap.evaluation.tally import Tally, Tile
from tastemap.metrics import Metric

__all__ = ["evaluate_frame"]

_TILE = 4096


def evaluate_frame(
    recommendations: Any,
    truth: Any,
    metrics: str | Metric | Iterable[str | Metric] = DEFAULT_METRICS,
    *,
    catalogue: int | Iterable[Id] | None = None,
    train: Any = None,
    items: Any = None,
    min_value: float | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    name: str = "recommendations",
) -> Report:
    """Judges recommendations, or predicted ratings, from any source.

    Frames are pandas, Polars or Arrow. Ids may be strings or integers, and match by their text
    where one frame has the one and another the other. The users of `truth` are judged: one without
    recommendations found nothing; recommendations for others are left aside.

    Args:
        recommendations: columns user, item, and rank (from 1) or score (higher is better; equal
            scores keep the order of the frame). For "rmse" and "mae": user, item and score, with a
            row for each pair of `truth`.
        truth: columns user, item, and value where ratings are judged or `min_value` is given.
        metrics: texts such as "ndcg@10"; all of `tastemap.metrics.METRICS` but "auc", which needs
            the scores of the whole catalogue (`tastemap.metrics.auc` takes a matrix of them).
        catalogue: the ids of all items, or how many there are, for coverage and Gini; by default
            all items in any of the frames.
        train: what the recommendations were learned from, columns user and item, or a `Dataset`;
            needed for novelty, serendipity, popularity metrics, and segments.
        items: for "intra_list_diversity": a column item, and numeric columns (a vector), or a
            column genres, categories or tags (lists, or texts separated by "|").
        min_value, confidence, resamples, name: as for `evaluate`.

    Raises:
        ParameterError: an unknown metric, or one that needs what was not given.
        DataError: a missing column, or a bad value, with its row; an item outside the catalogue; a
            pair of `truth` without a prediction.
    """
    started = time.perf_counter()
    asked = Metric.parse_all(metrics)
    check_bootstrap(confidence, resamples)
    names = {metric.name for metric in asked}
    if "auc" in names:
        raise ParameterError(
            "auc needs the scores of the whole catalogue: evaluate the model, or give "
            "tastemap.metrics.auc the matrix of scores"
        )
    ratings = bool(names & {"rmse", "mae"})
    ranks = any(metric.info.has_k for metric in asked)
    wanted = read_pairs(truth, "truth", ["value"] if ratings or min_value is not None else [])
    given = read_pairs(recommendations, "recommendations", ["score"] if ratings else [])
    if len(wanted) == 0:
        raise ParameterError("there is nothing to evaluate: truth has no row")
    known = None if train is None else _training(train)
    users, (true_users, given_users, known_users) = shared_rows(
        [wanted.users, given.users, None if known is None else known.users]
    )
    listed = None if catalogue is None or isinstance(catalogue, int) else list(catalogue)
    vocabulary, (listed_items, true_items, given_items, known_items) = shared_rows(
        [
            None if listed is None else pl.Series(listed, strict=False),
            wanted.items,
            given.items,
            None if known is None else known.items,
        ]
    )
    n_users = int(true_users.max())
    n_items = _catalogue_size(catalogue, vocabulary, listed_items, given_items)
    asked_for = given_users <= n_users
    values = wanted.values.get("value", np.ones(len(wanted)))
    facts = _histories(true_users, true_items, values, n_users)
    histories = _histories(known_users, known_items, np.ones(len(known_users)), n_users)
    features = None if items is None else attributes(items, vocabulary)
    if known is None:
        background = Background(n_items, features=features)
    else:
        background = Background.of_events(
            known_users, known_items, n_items, len(vocabulary), features
        )
    background.check(asked)
    k = max((metric.k or 0 for metric in asked), default=0)
    lists = np.zeros((n_users, 0), np.int32)
    if ranks:
        lists = ordered_lists(given, given_users, given_items, asked_for, n_users, k)
    errors = None
    if ratings:
        errors = _errors(given, given_users, given_items, facts, users, vocabulary)
    tally = Tally(asked, background)
    expected_k = max((x.k or 0 for x in asked if x.name == "serendipity"), default=0)
    for start in range(0, n_users, _TILE):
        stop = min(start + _TILE, n_users)
        true, before = facts.slice(start, stop), histories.slice(start, stop)
        expected = None
        if expected_k:
            expected = popular_lists(background, stop - start, expected_k, before)
        part = slice(int(facts.offsets[start]), int(facts.offsets[stop]))
        tally.add(
            Tile(
                lists[start:stop],
                true if min_value is None else true.select(true.values >= min_value),
                before,
                expected,
                truth=true,
                errors=None if errors is None else errors[part],
            )
        )
    return summarize(
        tally,
        asked,
        users=pl.Series(users.take(np.arange(1, n_users + 1))),
        confidence=confidence,
        resamples=resamples,
        started=started,
        model=name,
        part="truth",
        split="recommendations and truth given as frames",
        fingerprint=_fingerprint(wanted),
        exclude_seen=None,
        min_value=min_value,
    )


def _training(train: Any) -> Pairs:
    return read_pairs(train.to_frame() if isinstance(train, Dataset) else train, "train", [])


def _histories(
    users: NDArray[np.int32], items: NDArray[np.int32], values: NDArray[Any], n: int
) -> Histories:
    """Events of the users with rows 1 to n, as histories [n]."""
    kept = users <= n
    m = int(kept.sum())
    return Histories.from_events(
        users[kept] - np.int32(1),
        items[kept],
        np.zeros(m),
        values[kept].astype(np.float32),
        np.zeros(m, np.uint8),
        n,
    )


def _catalogue_size(
    catalogue: Any,
    vocabulary: Vocabulary,
    listed: NDArray[np.int32],
    recommended: NDArray[np.int32],
) -> int:
    seen = len(vocabulary) - 1
    if catalogue is None:
        return seen
    if isinstance(catalogue, int):
        if catalogue < seen:
            raise ParameterError(
                f"catalogue says {catalogue:,} items, but the frames hold {seen:,} different ones"
            )
        return catalogue
    size = int(listed.max(initial=0))
    beyond = recommended > size
    if beyond.any():
        row = int(np.argmax(beyond))
        raise DataError(
            "the item is not in the catalogue", source="recommendations", row=row + 1,
            column="item", value=vocabulary.ids(recommended[[row]])[0],
            remedy="Give the ids of all items that may be recommended",
        )  # fmt: skip
    return size


def _errors(
    given: Pairs,
    given_users: NDArray[np.int32],
    given_items: NDArray[np.int32],
    facts: Histories,
    users: Vocabulary,
    items: Vocabulary,
) -> NDArray[np.float64]:
    """Predicted minus true value of each true event, float64 [m]."""
    keys = given_users.astype(np.int64) << 32 | given_items
    order = np.argsort(keys, kind="stable")
    rising = keys[order]
    twice = np.flatnonzero(rising[1:] == rising[:-1])
    if len(twice):
        raise DataError(
            "the pair of user and item is predicted twice", source="recommendations",
            row=int(order[twice[0] + 1]) + 1, remedy="Keep one prediction a pair",
        )  # fmt: skip
    true_users = facts.rows_of_events() + 1
    wanted = true_users.astype(np.int64) << 32 | facts.items
    place = np.minimum(np.searchsorted(rising, wanted), max(len(rising) - 1, 0))
    missing = rising[place] != wanted if len(rising) else np.ones(len(wanted), np.bool_)
    if missing.any():
        first = int(np.argmax(missing))
        raise DataError(
            f"{int(missing.sum()):,} of {len(wanted):,} true pairs have no prediction; first "
            f"user {users.ids(true_users[[first]])[0]!r}, "
            f"item {items.ids(facts.items[[first]])[0]!r}",
            source="recommendations", remedy="Predict a score for every pair of truth",
        )  # fmt: skip
    return given.values["score"][order[place]] - facts.values


def _fingerprint(truth: Pairs) -> str:
    """A hash of the true pairs as text, whatever their order."""
    columns = [pl.Series(name, values) for name, values in truth.values.items()]
    frame = pl.DataFrame([truth.users.rename("user"), truth.items.rename("item"), *columns])
    text = frame.with_columns(pl.col("user", "item").cast(pl.String)).sort(pl.all()).write_csv()
    return hashlib.sha256(text.encode()).hexdigest()[:16]
