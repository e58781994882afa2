"""Filters together: which items may come out for which queries."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import ParameterError
from tastemap.policy.asking import Condition
from tastemap.policy.availability import Stock
from tastemap.policy.rule import Filter

__all__ = ["Allowed", "Filtering", "Filters"]


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


class Filters:
    """Filters in their order; those that are alike for all queries come first, joined once.

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
        """Joins the masks that are alike for all queries."""
        mask, barred = self._everything, np.zeros(self._n_rules, np.int64)
        left = np.count_nonzero(mask)
        for each in self._fixed:
            mask = mask & each.filter.mask(self._nobody)
            barred[each.place], left = left - (now := np.count_nonzero(mask)), now
        # One name for both, so that whoever reads it on another thread has what belongs together.
        self._settled = (None if not barred.any() else mask), left, barred

    def allowed(
        self, queries: Queries, among: NDArray[np.bool_] | None = None
    ) -> Iterator[Allowed]:
        """The queries in groups that may be shown the same items; each is in just one of them.

        Args:
            queries: [B].
            among: bool [item rows], the items that may come out at all; None for all.
        """
        fixed, left_for_all, barred_for_all = self._settled
        holds = [each.condition.holds(queries) for each in self._varying]
        keys = np.zeros((len(queries), len(self._varying)), np.int64)
        for column, each in enumerate(self._varying):
            groups = each.filter.groups(queries) if len(queries) > 1 else None
            numbers = np.zeros(len(queries), np.int64) if groups is None else groups
            keys[:, column] = np.where(holds[column], numbers, -1)
        for rows in _alike(keys):
            some = queries if len(rows) == len(queries) else queries.take(rows)
            mask, left, barred = fixed, left_for_all, barred_for_all.copy()
            for column, each in enumerate(self._varying):
                if holds[column][rows[0]]:
                    mask = self._everything if mask is None else mask
                    mask = mask & each.filter.mask(some.slice(0, 1))
                    barred[each.place], left = left - (now := np.count_nonzero(mask)), now
            if among is not None:
                mask = among if mask is None else mask & among
            yield Allowed(rows, some, mask, barred)

    def strictest(self) -> NDArray[np.bool_] | None:
        """bool [item rows], what may be shown where nothing at all is known of who asks: every
        filter holds, those too that hold for some only. None for all."""
        mask = self._settled[0]
        for each in self._varying:
            own = each.filter.mask(self._nobody)
            mask = own if mask is None else mask & own
        return mask

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


def _alike(keys: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of keys [B, n] in groups of equal ones, each int64 and rising."""
    if len(keys) == 0:
        return
    if keys.shape[1] == 0 or len(keys) == 1:
        yield np.arange(len(keys))
        return
    _, number, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    yield from np.split(np.argsort(number.ravel(), kind="stable"), np.cumsum(counts)[:-1])
