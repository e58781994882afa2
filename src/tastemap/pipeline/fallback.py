"""Answers for those about whom only a profile, or the circumstances, or nothing is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries

__all__ = ["Fallback"]

# A group of fewer users says little; and its share is drawn to the whole as if by so many users.
_MIN_USERS = 20
_MAX_VALUES = 50
_BINS = 5
# Sources are stored as uint8, and the retrievers need theirs.
_MAX_GROUPS = 200


@dataclass(eq=False)
class Fallback:
    """Popularity among users of the same profile, then in the same circumstances, then overall.

    The groups are the values of each column of the user table and of each further column of the
    events (numbers of many values are cut at their quintiles) that at least 20 users have. A query
    is answered by the smallest group of its profile, or else of its context, whose popularity is
    the share of its users who chose an item, drawn towards the share among all as if by 20 more
    users.

    Attributes:
        names: of the groups, "popularity" for all and "popularity:gender=F" for a value.
        links: what each group goes by, "popularity", "profile" or "context".
        shares: float32 [groups, item rows].
        sizes: int64 [groups], users in each; of circumstances as many as had made their events.
        edges: by link and numeric column the inner bounds of its bins.
    """

    names: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    shares: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    edges: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, dataset: Dataset) -> Fallback:
        """Counts the groups of a data set's user table and of its events' circumstances."""
        chosen = dataset.histories.to_csr(len(dataset.items))
        active = dataset.histories.counts > 0
        n_active = max(1, int(active.sum()))
        overall = np.asarray(chosen.sum(axis=0)).ravel() / n_active
        fallback = cls(["popularity"], ["popularity"])
        shares, sizes = [overall], [n_active]

        def count(name: str, link: str, chosen: csr_array, users: int) -> None:
            if _MIN_USERS <= users < n_active and len(shares) < _MAX_GROUPS:
                counts = np.asarray(chosen.sum(axis=0)).ravel()
                fallback.names.append(name)
                fallback.links.append(link)
                shares.append((counts + _MIN_USERS * overall) / (users + _MIN_USERS))
                sizes.append(users)

        profiles = dataset.profiles(np.arange(len(dataset.users)))
        if profiles is not None:
            fallback.edges |= _edges(profiles, "profile")
            for name, members in fallback._groups(profiles, "profile"):
                rows = np.flatnonzero(members & active)
                count(name, "profile", chosen[rows], len(rows))
        if dataset.context is not None:
            fallback.edges |= _edges(dataset.context, "context")
            for name, events in fallback._groups(dataset.context, "context"):
                part = dataset.histories.select(events)
                # As so many users do in all; nearly every user may have been there once.
                n_users = part.n_events * n_active // dataset.n_events
                count(name, "context", part.to_csr(len(dataset.items)), n_users)
        fallback.shares = np.array(shares, np.float32)
        fallback.sizes = np.array(sizes, np.int64)
        return fallback

    def _groups(self, table: pl.DataFrame, link: str) -> list[tuple[str, NDArray[np.bool_]]]:
        groups = []
        for column in table.columns:
            labels = _labels(table[column], self.edges.get((link, column)))
            if labels is None:
                continue
            values = labels.drop_nulls().unique().sort()
            if len(values) <= _MAX_VALUES:
                groups += [
                    (f"popularity:{column}={value}", (labels == value).fill_null(False).to_numpy())
                    for value in values
                ]
        return groups

    def choose(self, queries: Queries) -> NDArray[np.int64]:
        """The group, int64 [B], that answers each query."""
        by_profile = self._smallest(queries.profile, "profile", len(queries))
        by_context = self._smallest(queries.context, "context", len(queries))
        return np.where(by_profile > 0, by_profile, by_context)

    def _smallest(self, table: pl.DataFrame | None, link: str, n: int) -> NDArray[np.int64]:
        chosen = np.zeros(n, np.int64)
        if table is None or table.width == 0 or link not in self.links:
            return chosen
        place = {name: row for row, name in enumerate(self.names) if self.links[row] == link}
        for name, members in self._groups(table, link):
            group = place.get(name)
            if group is not None:
                smaller = members & (self.sizes[group] < self.sizes[chosen])
                chosen[smaller] = group
        return chosen


def _edges(table: pl.DataFrame, link: str) -> dict[tuple[str, str], list[float]]:
    edges = {}
    for column in table.columns:
        values = table[column].drop_nulls()
        if values.dtype.is_numeric() and values.n_unique() > 2 * _BINS:
            quantiles = np.quantile(values.to_numpy(), np.arange(1, _BINS) / _BINS)
            edges[link, column] = sorted({float(edge) for edge in np.ceil(quantiles)})
    return edges


def _labels(values: pl.Series, edges: list[float] | None) -> pl.Series | None:
    """The group of each value as text: the value itself, or its bin such as "25–34"."""
    if edges is not None:
        numbers = values.cast(pl.Float64, strict=False)
        bins = np.searchsorted(edges, numbers.fill_null(np.nan).to_numpy(), side="right")
        names = [f"under {edges[0]:g}"]
        names += [f"{low:g}–{high - 1:g}" for low, high in pairwise(edges)]
        names += [f"{edges[-1]:g} and over"]
        labels = pl.Series([names[b] for b in bins], dtype=pl.Utf8)
        return pl.select(pl.when(numbers.is_not_null()).then(labels)).to_series()
    if values.dtype in (pl.Utf8, pl.Categorical, pl.Boolean) or values.dtype.is_integer():
        return values.cast(pl.Utf8)
    return None
