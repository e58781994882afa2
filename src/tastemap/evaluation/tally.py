"""Values per user, tile by tile, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap import metrics as m
from tastemap.data.histories import Histories
from tastemap.evaluation.background import Background
from tastemap.metrics import Metric
from tastemap.metrics.ranking import mean_by_row

__all__ = ["ItemSegment", "Tally", "Tile", "finished"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tile:
    """What is known about some users when their recommendations are judged.

    Attributes:
        lists: int32 [b, k], item rows, best first, padded with 0.
        relevant: what counts as a hit, [b].
        histories: what was known before, [b]; no row has events where that is unknown.
        expected: int32 [b, k], the popular items that each user does not have, where asked for.
        rates: float64, for each relevant event the share of irrelevant items it outscores.
        truth: all true events, [b], those of low value too.
        errors: float64, predicted minus true value of each event of `truth`.
    """

    lists: NDArray[np.int32]
    relevant: Histories
    histories: Histories
    expected: NDArray[np.int32] | None = None
    rates: Floats | None = None
    truth: Histories | None = None
    errors: Floats | None = None

    def restricted(self, items: NDArray[np.bool_]) -> Tile:
        """The same lists judged by the truth among some items (bool [item rows]) alone."""
        kept = items[self.relevant.items]
        tile = replace(
            self,
            relevant=self.relevant.select(kept),
            rates=None if self.rates is None else self.rates[kept],
        )
        if self.truth is None or self.errors is None:
            return tile
        kept = items[self.truth.items]
        return replace(tile, truth=self.truth.select(kept), errors=self.errors[kept])


@dataclass(eq=False)
class ItemSegment:
    """Some items (bool [item rows]) and the metrics' sums where only they count as true."""

    items: NDArray[np.bool_]
    numerators: Floats
    denominators: Floats
    n_users: int = 0


def finished(metrics: Sequence[Metric], numerators: Floats, denominators: Floats) -> Floats:
    """Values of the metrics (last axis) from sums of numerators and denominators.

    Most metrics are means over users. RMSE and MAE are means over ratings, and popularity bias is a
    quotient of two means, so neither is the mean of the users' values.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(denominators > 0, numerators / denominators, np.nan)
    for column, metric in enumerate(metrics):
        if metric.name == "rmse":
            values[..., column] = np.sqrt(values[..., column])
        elif metric.name == "popularity_bias":
            values[..., column] -= 1.0
    return values


class Tally:
    """Takes tiles of users and keeps a few numbers for each.

    Attributes:
        metrics: those with a value per user, in the order of the columns of `numerators`.
        catalogue_metrics: those with one value for all lists together.
        item_segments: by name, the metrics judged by part of the true items.
    """

    def __init__(self, metrics: Sequence[Metric], background: Background) -> None:
        self.metrics = [x for x in metrics if x.info.kind != "catalogue"]
        self.catalogue_metrics = [x for x in metrics if x.info.kind == "catalogue"]
        self.background = background
        self._exposure = {
            x.k: np.zeros(background.n_items, np.int64) for x in self.catalogue_metrics
        }
        self._parts: list[tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]] = []
        self.item_segments: dict[str, ItemSegment] = {}
        if background.popularity is not None:
            for name, items in (
                ("popular items", background.popular),
                ("rare items", ~background.popular),
            ):
                zeros = np.zeros(len(self.metrics))
                self.item_segments[name] = ItemSegment(items, zeros, zeros.copy())

    def add(self, tile: Tile) -> None:
        """Judges the users of a tile."""
        for k, counts in self._exposure.items():
            assert k is not None
            counts += m.exposure(tile.lists, self.background.n_items, k)
        numerators, denominators, n_relevant = self._judged(tile)
        of_lists = self._of_lists(tile)
        for column, metric in enumerate(self.metrics):
            if metric in of_lists:
                numerators[:, column], denominators[:, column] = of_lists[metric]
        self._parts.append((numerators, denominators, n_relevant, tile.histories.counts))
        for segment in self.item_segments.values():
            numerators, denominators, n_relevant = self._judged(tile.restricted(segment.items))
            segment.numerators += numerators.sum(axis=0)
            segment.denominators += denominators.sum(axis=0)
            segment.n_users += int((n_relevant > 0).sum())

    def _judged(self, tile: Tile) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Numerators and denominators [b, metrics] of what depends on the truth; n_relevant [b]."""
        relevant = tile.relevant
        hits, n_relevant = m.judge(tile.lists, relevant.offsets, relevant.items)
        numerators = np.zeros((len(tile.lists), len(self.metrics)))
        denominators = np.zeros_like(numerators)
        for column, metric in enumerate(self.metrics):
            if metric.info.kind == "ratings":
                pair = _of_errors(metric, tile)
            elif metric.name == "auc":
                assert tile.rates is not None
                pair = _mean(mean_by_row(tile.rates, relevant.offsets))
            elif metric.name == "serendipity":
                assert tile.expected is not None and metric.k is not None
                pair = _mean(m.serendipity(hits, n_relevant, tile.lists, tile.expected, metric.k))
            elif metric.info.kind == "hits":
                pair = _mean(getattr(m, metric.name)(hits, n_relevant, metric.k))
            else:
                continue
            numerators[:, column], denominators[:, column] = pair
        return numerators, denominators, n_relevant

    def _of_lists(self, tile: Tile) -> dict[Metric, tuple[Floats, Floats]]:
        """Numerators and denominators [b] of what depends on the lists alone."""
        found: dict[Metric, tuple[Floats, Floats]] = {}
        popularity, features = self.background.popularity, self.background.features
        for metric in self.metrics:
            if metric.info.kind != "lists":
                continue
            assert metric.k is not None
            if metric.name == "intra_list_diversity":
                assert features is not None
                found[metric] = _mean(m.intra_list_diversity(tile.lists, features, metric.k))
                continue
            assert popularity is not None
            if metric.name == "novelty":
                n_users = self.background.n_users
                found[metric] = _mean(m.novelty(tile.lists, popularity, n_users, metric.k))
                continue
            shown = m.arp(tile.lists, popularity, metric.k)
            if metric.name == "arp":
                found[metric] = _mean(shown)
            else:
                h = tile.histories
                before = m.profile_popularity(h.offsets, h.items, popularity)
                both = ~np.isnan(shown) & ~np.isnan(before)
                found[metric] = np.where(both, shown, 0.0), np.where(both, before, 0.0)
        return found

    def columns(self) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
        """Numerators and denominators [n, metrics], relevant items [n] and history lengths [n]."""
        numerators, denominators, n_relevant, lengths = (
            np.concatenate(parts) for parts in zip(*self._parts, strict=True)
        )
        return numerators, denominators, n_relevant, lengths

    def catalogue_values(self) -> list[float]:
        """A value for each of `catalogue_metrics`."""
        return [float(getattr(m, x.name)(self._exposure[x.k])) for x in self.catalogue_metrics]


def _mean(values: Floats) -> tuple[Floats, Floats]:
    defined = ~np.isnan(values)
    return np.where(defined, values, 0.0), defined.astype(np.float64)


def _of_errors(metric: Metric, tile: Tile) -> tuple[Floats, Any]:
    assert tile.errors is not None and tile.truth is not None
    size: Floats = tile.errors**2 if metric.name == "rmse" else np.abs(tile.errors)
    sums = np.bincount(tile.truth.rows_of_events(), size, minlength=len(tile.truth))
    return np.asarray(sums, np.float64), tile.truth.counts
