"""What was counted until a moment, as the numbers that rankers look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.kernels.affinities import Affinities
from tastemap.kernels.event_totals import Totals

__all__ = [
    "WINDOWS",
    "item_numbers",
    "like_rate",
    "log_share",
    "pair_numbers",
    "source_numbers",
    "user_numbers",
]

WINDOWS = ("short", "long")
"""The names of the recent times, in the order of `Totals.recent`."""

Numbers = dict[str, NDArray[Any]]


def user_numbers(
    fit: Affinities, overall: Totals, now: NDArray[np.float64] | None, prior: float
) -> Numbers:
    """How much a user did, how well they liked it, and when last; by name, each [B].

    Args:
        fit: of the users' own events.
        overall: of everybody's events.
        now: float64 [B], the moments; None where events have no times.
        prior: how many events a user's mean is drawn to everybody's by.
    """
    numbers: Numbers = {
        "user.events": np.log1p(fit.counts),
        "user.likes": _drawn(fit.likes, fit.counts, like_rate(overall), prior),
        "user.value": _drawn(fit.values, fit.counts, _mean_value(overall), prior),
    }
    if now is not None:
        # A history given as bare ids has no times: they are 0.
        numbers["user.idle"] = np.log1p(now - np.where(fit.lasts > 0, fit.lasts, np.nan))
    return numbers


def item_numbers(
    found: Totals, overall: Totals, now: NDArray[np.float64] | None, prior: float
) -> Numbers:
    """How popular an item is, how well it is liked, and how old it is; by name, each [m].

    Args:
        found: of the items' events.
        overall: of everybody's events.
        now: float64 [m], the moments; None where events have no times.
        prior: how many events an item's mean is drawn to that of all by.
    """
    numbers: Numbers = {
        "item.events": np.log1p(found.counts),
        "item.share": log_share(found.counts, overall.counts),
        "item.likes": _drawn(found.likes, found.counts, like_rate(overall), prior),
        "item.value": _drawn(found.values, found.counts, _mean_value(overall), prior),
    }
    if now is not None:
        for place, window in enumerate(WINDOWS):
            recent = found.recent[:, place]
            numbers[f"item.{window}_events"] = np.log1p(recent)
            numbers[f"item.{window}_share"] = log_share(recent, overall.recent[:, place])
        first = np.where(np.isfinite(found.firsts), found.firsts, np.nan)
        numbers["item.age"] = np.log1p(now - first)
    return numbers


def pair_numbers(fit: Affinities, columns: Sequence[str], *, timed: bool) -> Numbers:
    """How well candidates fit those who ask; by name, each [m].

    Args:
        fit: of the users' own events, by column of categories.
        columns: the names of these columns.
        timed: whether events have times.
    """
    numbers: Numbers = {}
    for place, name in enumerate(columns):
        numbers[f"pair.{name}.share"] = fit.shares[:, place]
        numbers[f"pair.{name}.likes"] = fit.rates[:, place]
        if timed:
            numbers[f"pair.{name}.idle"] = np.log1p(fit.ages[:, place])
    if columns:
        numbers["pair.similarity"] = fit.similarities
    return numbers


def source_numbers(candidates: Candidates) -> Numbers:
    """The score and the logarithm of the rank that each source gave; by name, each [m]."""
    numbers: Numbers = {}
    for place, name in enumerate(candidates.source_names):
        numbers[f"source.{name}.score"] = candidates.scores[:, place]
        numbers[f"source.{name}.rank"] = np.log(candidates.ranks[:, place])
    return numbers


def like_rate(overall: Totals) -> NDArray[np.float64]:
    """The share of likes among all events until then, by Laplace's rule of succession."""
    rate: NDArray[np.float64] = (overall.likes + 1) / (overall.counts + 2)
    return rate


def _mean_value(totals: Totals) -> NDArray[np.float64]:
    """The mean value; NaN where there are no events."""
    mean = np.full(len(totals.counts), np.nan)
    some = totals.counts > 0
    mean[some] = totals.values[some] / totals.counts[some]
    return mean


def _drawn(
    sums: NDArray[Any], counts: NDArray[np.int64], usual: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (sums + prior * usual) / (counts + prior)
    return mean


def log_share(counts: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of the share that some events are of others, one more of either."""
    share: NDArray[np.float64] = np.log((counts + 1) / (of + 1))
    return share
