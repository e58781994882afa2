"""From a tally to a report: means, intervals, segments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.evaluation.report import Report
from tastemap.evaluation.tally import Tally, finished
from tastemap.metrics import Metric, bootstrap_interval

__all__ = ["check_bootstrap", "summarize"]

_SEED = 0


def check_bootstrap(confidence: float, resamples: int) -> None:
    """Raises:
    ParameterError: confidence is not between 0 and 1, or there is no resample.
    """
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must lie between 0 and 1, got {confidence!r}")
    if resamples < 1:
        raise ParameterError(f"resamples must be at least 1, got {resamples!r}")


def summarize(
    tally: Tally,
    metrics: Sequence[Metric],
    *,
    users: pl.Series,
    confidence: float,
    resamples: int,
    started: float,
    **about: Any,
) -> Report:
    """The report of a tally.

    Args:
        tally: of all users.
        metrics: all metrics, in the order in which the report shows them.
        users: ids of the users [n].
        confidence, resamples: of the bootstrap.
        started: `time.perf_counter()` when the evaluation began.
        about: the remaining fields of the report.
    """
    numerators, denominators, n_relevant, lengths = tally.columns()
    names = [str(metric) for metric in tally.metrics]
    means = finished(tally.metrics, numerators.sum(axis=0), denominators.sum(axis=0))
    low, high = bootstrap_interval(
        numerators, denominators, confidence=confidence, resamples=resamples, seed=_SEED
    )
    # The finishing steps rise, so they may be taken on the ends of the interval.
    ends = finished(tally.metrics, np.stack([low, high]), np.ones((2, len(names))))
    values = dict(zip(names, means.tolist(), strict=True))
    intervals = dict(zip(names, ends.T.tolist(), strict=True))
    for metric, value in zip(tally.catalogue_metrics, tally.catalogue_values(), strict=True):
        values[str(metric)] = value
    per_user = finished(tally.metrics, numerators, denominators)
    return Report(
        metrics={str(metric): values[str(metric)] for metric in metrics},
        intervals={
            str(metric): tuple(intervals[str(metric)]) if str(metric) in intervals else None
            for metric in metrics
        },
        confidence=confidence,
        per_user=pl.DataFrame(
            {
                "user": users,
                "history": lengths,
                "relevant": n_relevant,
                **{name: _column(per_user[:, i]) for i, name in enumerate(names)},
            }
        ),
        segments=_segments(tally, names, numerators, denominators, lengths),
        n_users=len(users),
        n_items=tally.background.n_items,
        seconds=time.perf_counter() - started,
        **about,
    )


def _segments(
    tally: Tally,
    names: list[str],
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    lengths: NDArray[np.int64],
) -> pl.DataFrame:
    """New, regular and heavy users by history length; popular and rare items by training users."""
    rows: list[tuple[str, str, int, NDArray[np.float64]]] = []
    if tally.background.popularity is not None:
        short, long = np.quantile(lengths, [0.25, 0.75], method="lower").tolist()
        of_users = {
            "new users": (lengths <= short, f"the quarter with least history, up to {short:,}"),
            "regular users": ((lengths > short) & (lengths <= long), "those in between"),
            "heavy users": (lengths > max(long, short), f"those with more history than {long:,}"),
        }
        for name, (some, definition) in of_users.items():
            sums = numerators[some].sum(axis=0), denominators[some].sum(axis=0)
            rows.append((name, definition, int(some.sum()), finished(tally.metrics, *sums)))
        definitions = {
            "popular items": "only the fifth of the catalogue with most users in training is true",
            "rare items": "only the rest of the catalogue is true",
        }
        for name, segment in tally.item_segments.items():
            found = finished(tally.metrics, segment.numerators, segment.denominators)
            rows.append((name, definitions[name], segment.n_users, found))
    table = np.array([values for *_, values in rows]).reshape(len(rows), len(names))
    return pl.DataFrame(
        {
            "segment": pl.Series([row[0] for row in rows], dtype=pl.String),
            "definition": pl.Series([row[1] for row in rows], dtype=pl.String),
            "users": pl.Series([row[2] for row in rows], dtype=pl.Int64),
            **{name: _column(table[:, i]) for i, name in enumerate(names)},
        }
    )


def _column(values: NDArray[np.float64]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)
