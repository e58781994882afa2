"""Answers for those about whom only a profile, or the circumstances, or nothing is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.labels import label, labels, quintiles
from tastemap.data.queries import Queries
from tastemap.kernels.left_out import first_allowed

__all__ = ["Fallback"]

# A group of fewer users says little; and its share is drawn to the whole as if by so many users.
_MIN_USERS = 20
# So many takes lift an item by the share of the most popular one; but all takes together by no more
# than so many times all shares.
_TAKES = 20
_MOST = 4.0
_MAX_VALUES = 50
# Sources are stored as uint8, and the retrievers need theirs.
_MAX_GROUPS = 200
# So many items of a group are put in order, once.
_DEEP = 20_000


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
    _orders: dict[int, NDArray[np.int32]] = field(default_factory=dict, repr=False)
    _now: _Now | None = None

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
            told = labels(table[column], self.edges.get((link, column)))
            if told is None:
                continue
            values = told.drop_nulls().unique().sort()
            if len(values) <= _MAX_VALUES:
                groups += [
                    (_name(column, value), (told == value).fill_null(False).to_numpy())
                    for value in values
                ]
        return groups

    def choose(self, queries: Queries) -> NDArray[np.int64]:
        """The group, int64 [B], that answers each query."""
        by_profile = self._smallest(queries.profile, "profile", len(queries))
        by_context = self._smallest(queries.context, "context", len(queries))
        return np.where(by_profile > 0, by_profile, by_context)

    def follow(self, items: NDArray[np.int32], takes: NDArray[np.float64]) -> None:
        """Lifts what is taken now, in all groups, in place of what was lifted before.

        A take lifts an item by a twentieth of the share that the most popular item has among all:
        a few takes change little, and an item that many take gets to the top. All lifts together
        are at most four times the sum of all shares, so that of popularity at most four fifths are
        of now, however much happens. It may be called on another thread than `best`.

        Args:
            items: item rows [n], each once.
            takes: of each, what is long ago counting less, [n].
        """
        overall = self.shares[0]
        most = _MOST * float(overall.sum()) / max(float(takes.sum()), 1e-12)
        lifts = np.zeros(self.shares.shape[1], np.float32)
        lifts[items] = takes * min(float(overall.max()) / _TAKES, most)
        now = _Now(items, lifts)
        for group in list(self._orders):
            self._order(group, now)
        self._now = now if len(items) else None

    def _smallest(self, table: pl.DataFrame | None, link: str, n: int) -> NDArray[np.int64]:
        chosen, groups = [0] * n, self._places[link]
        # Value by value and not with the table's own means, whose calls cost more than all of this
        # for the few rows of a request.
        for series in table if table is not None and groups else []:
            edges = self.edges.get((link, series.name))
            for row, value in enumerate(series.to_list()):
                told = label(value, edges)
                group = 0 if told is None else groups.get(_name(series.name, told), 0)
                if group and self.sizes[group] < self.sizes[chosen[row]]:
                    chosen[row] = group
        return np.array(chosen, np.int64)

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        """By link the group of each name."""
        places: dict[str, dict[str, int]] = {"popularity": {}, "profile": {}, "context": {}}
        for group, (name, link) in enumerate(zip(self.names, self.links, strict=True)):
            places[link][name] = group
        return places

    def best(
        self,
        groups: NDArray[np.int64],
        k: int,
        excluded: Histories,
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The k most popular items of each group and their shares, [n, k], padded with 0.

        Args:
            groups: int64 [n].
            excluded: items that may not come out, [n].
            allowed: bool [item rows], those that may; None for all.
        """
        items, scores = np.zeros((len(groups), k), np.int32), np.zeros((len(groups), k), np.float32)
        now, n_items = self._now, self.shares.shape[1]
        for group in np.unique(groups).tolist():
            rows, order = np.flatnonzero(groups == group), self._order(group, now)
            first_allowed(order, rows, excluded.offsets, excluded.items, allowed, items)
            short = rows[items[rows, -1] == 0]
            if len(short) and len(order) < n_items - 1:
                everything = np.arange(1, n_items, dtype=np.int32)
                shares = self._shares(group, everything, now)
                order = everything[np.argsort(-shares, kind="stable")]
                first_allowed(order, short, excluded.offsets, excluded.items, allowed, items)
            found = items[rows]
            scores[rows] = np.where(found > 0, self._shares(group, found, now), 0)
        return items, scores

    def _shares(
        self, group: int, items: NDArray[np.int32], now: _Now | None
    ) -> NDArray[np.float32]:
        shares: NDArray[np.float32] = self.shares[group, items]
        return shares if now is None else shares + now.lifts[items]

    def _order(self, group: int, now: _Now | None) -> NDArray[np.int32]:
        """The item rows of a group that are most popular, best first."""
        order = self._orders.get(group)
        if order is None:
            everything = np.arange(1, self.shares.shape[1], dtype=np.int32)
            order = self._orders[group] = _deepest(everything, self.shares[group, 1:])
        if now is None:
            return order
        lifted = now.orders.get(group)
        if lifted is None:
            # Nothing else can have got among the best.
            some = np.union1d(order, now.items).astype(np.int32)
            lifted = now.orders[group] = _deepest(some, self._shares(group, some, now))
        return lifted


@dataclass(frozen=True, eq=False)
class _Now:
    """What is popular now.

    Attributes:
        items: item rows that are lifted, [n].
        lifts: float32 [item rows], by how much.
        orders: of groups, as they then are.
    """

    items: NDArray[np.int32]
    lifts: NDArray[np.float32]
    orders: dict[int, NDArray[np.int32]] = field(default_factory=dict)


def _deepest(items: NDArray[np.int32], shares: NDArray[np.float32]) -> NDArray[np.int32]:
    """The best of some items, in rising order, by their shares; of equal ones the first rows, as a
    full sort would have them."""
    place = max(len(shares) - _DEEP, 0)
    last = np.partition(shares, place)[place]
    most = np.flatnonzero(shares > last)
    most = np.append(most, np.flatnonzero(shares == last)[: _DEEP - len(most)])
    return items[most[np.argsort(-shares[most], kind="stable")]]


def _edges(table: pl.DataFrame, link: str) -> dict[tuple[str, str], list[float]]:
    found = ((column, quintiles(table[column])) for column in table.columns)
    return {(link, column): edges for column, edges in found if edges is not None}


def _name(column: str, value: str) -> str:
    return f"popularity:{column}={value}"
