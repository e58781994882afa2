"""Filters together: which items may come out for which queries."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemap.data.histories import Histories
from tastemap.data.masks import Remembered, constant
from tastemap.data.queries import Queries
from tastemap.errors import ParameterError
from tastemap.policy.asking import Condition
from tastemap.policy.availability import Stock
from tastemap.policy.rule import Filter

__all__ = ["Allowed", "Filtering", "Filters"]

# So many bytes of masks are remembered of groups, and as many of groups within what is available;
# and at least so many masks.
_BYTES, _LEAST = 32 << 20, 4


@dataclass(frozen=True, eq=False)
class Allowed:
    """Queries that may be shown the same items.

    Attributes:
        rows: int64 [n], their places in the batch.
        queries: [n].
        mask: bool [item rows], what may come out; None for all.
        barred: int64 [rules], items that each filter keeps from one of these queries and those
            before it let through.
    """

    rows: NDArray[np.int64]
    queries: Queries
    mask: NDArray[np.bool_] | None
    barred: NDArray[np.int64]


@dataclass(frozen=True)
class Filtering:
    """A filter, for whom it holds, and its number among the rules."""

    place: int
    condition: Condition
    filter: Filter


@dataclass(frozen=True, eq=False)
class _Joined:
    """Filters together, for one group of queries.

    Attributes:
        mask: bool [item rows], constant; None for all.
        left: how many items they let through.
        barred: as in `Allowed`.
    """

    mask: NDArray[np.bool_] | None
    left: int
    barred: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Settled:
    """What holds until the filters change.

    Attributes:
        fixed: the filters that are alike for all.
        groups: all filters for groups.
        within: masks of groups within the items that may come out at all.
    """

    fixed: _Joined
    groups: Remembered[_Joined]
    within: Remembered[NDArray[np.bool_]]


class Filters:
    """Filters in their order; those that are alike for all queries come first, joined once.

    The masks of groups are remembered, the last so many, and are constant (`data.masks`), so that
    an index remembers what it makes of them.

    Args:
        filters: the filters.
        n_items: item rows.
        n_rules: rules of all kinds.
    """

    def __init__(self, filters: Sequence[Filtering], n_items: int, n_rules: int) -> None:
        self._filters = tuple(filters)
        self._n_rules = n_rules
        self._everything = np.arange(n_items) > 0
        self._nobody = Queries.of(Histories.empty(1))
        self._fixed: list[Filtering] = []
        self._varying: list[Filtering] = []
        for each in filters:
            alike = each.condition.always and each.filter.groups(self._nobody) is None
            (self._fixed if alike else self._varying).append(each)
        self._changing = threading.Lock()
        self._settle()

    def _settle(self) -> None:
        """Joins the masks that are alike for all queries, and forgets all others."""
        everything = _Joined(None, len(self._everything) - 1, np.zeros(self._n_rules, np.int64))
        nothing = np.empty(0)
        fixed = self._join(everything, [(each, nothing) for each in self._fixed])
        # One name for all, so that whoever reads it on another thread has what belongs together.
        most = max(_LEAST, _BYTES // len(self._everything))
        self._settled = _Settled(fixed, Remembered(most), Remembered(most))

    def _join(
        self, before: _Joined, filters: Iterable[tuple[Filtering, NDArray[np.float64]]]
    ) -> _Joined:
        """With the masks that more filters have for a group each."""
        mask, left, barred = before.mask, before.left, before.barred.copy()
        for each, group in filters:
            own = each.filter.mask(group)
            joined = (self._everything if mask is None else mask) & own
            if (now := int(np.count_nonzero(joined))) < left:
                mask, left, barred[each.place] = constant(joined), now, left - now
        return _Joined(mask, left, barred)

    def allowed(
        self, queries: Queries, among: NDArray[np.bool_] | None = None
    ) -> Iterator[Allowed]:
        """The queries in groups that may be shown the same items; each is in just one of them.

        Args:
            queries: [B].
            among: bool [item rows], the items that may come out at all; None for all.
        """
        settled, n = self._settled, len(queries)
        holds = [each.condition.holds(queries) for each in self._varying]
        groups = [_groups(each, queries) for each in self._varying]
        keys = [
            np.where(held[:, None], np.column_stack([np.ones(n), group]), 0.0)
            for held, group in zip(holds, groups, strict=True)
        ]
        for rows in _alike(np.hstack([np.empty((n, 0)), *keys])):
            first = rows[0]
            here = [
                (each, group[first])
                for each, held, group in zip(self._varying, holds, groups, strict=True)
                if held[first]
            ]
            mask, barred = self._of_group(settled, here, among)
            some = queries if len(rows) == n else queries.take(rows)
            yield Allowed(rows, some, mask, barred)

    def strictest(self, among: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
        """bool [item rows], what may be shown where nothing at all is known of who asks: every
        filter holds, those too that hold for some only. None for all; `among` as in `allowed`."""
        here = [(each, _groups(each, self._nobody)[0]) for each in self._varying]
        return self._of_group(self._settled, here, among)[0]

    def _of_group(
        self,
        settled: _Settled,
        here: Sequence[tuple[Filtering, NDArray[np.float64]]],
        among: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.int64]]:
        """What those filters let through that hold for all, and some others for a group each; and
        what each of them bars."""
        key = tuple((each.place, group.tobytes()) for each, group in here)
        joined = settled.groups.of(None, lambda: self._join(settled.fixed, here), key)
        mask = joined.mask
        if mask is None or among is None:
            return among if mask is None else mask, joined.barred
        return settled.within.of(among, lambda: constant(mask & among), key), joined.barred

    def set_available(self, rows: ArrayLike, available: bool) -> None:
        """Says of some item rows [n] that they are to be had, or are not, from now on.

        Raises:
            ParameterError: no rule of kind "availability", or a row that is no item's.
        """
        stocks = [each.filter for each in self._filters if isinstance(each.filter, Stock)]
        if not stocks:
            raise ParameterError(
                "set_available: there is no rule of kind 'availability'; add one, such as "
                '[rules.stock] with kind = "availability"'
            )
        places = np.asarray(rows, np.int32).ravel()
        if len(places) and not (places.min() >= 1 and places.max() < len(self._everything)):
            last = len(self._everything) - 1
            raise ParameterError(f"set_available: item rows are from 1 to {last}")
        with self._changing:
            for stock in stocks:
                stock.set(places, available)
            self._settle()


def _groups(each: Filtering, queries: Queries) -> NDArray[np.float64]:
    """[B, numbers], what tells the groups of a filter apart."""
    groups = each.filter.groups(queries)
    return np.empty((len(queries), 0)) if groups is None else groups


def _alike(keys: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """The rows of keys [B, n] in groups of equal ones, each int64 and rising."""
    if len(keys) == 0:
        return
    if keys.shape[1] == 0 or len(keys) == 1:
        yield np.arange(len(keys))
        return
    _, number, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    yield from np.split(np.argsort(number.ravel(), kind="stable"), np.cumsum(counts)[:-1])
