"""Rules at work: masks before a search, the order of an answer after it, and what they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import ParameterError, RuleError
from tastemap.kernels.arranging import arrange
from tastemap.policy.asking import Condition, Place
from tastemap.policy.availability import Stock
from tastemap.policy.caps import Cap, Caps
from tastemap.policy.freshness import Born, Freshness
from tastemap.policy.pins import Pin
from tastemap.policy.rule import Filter, FilterRule, Rule

__all__ = ["Allowed", "Arranged", "Effect", "Policy"]

T = TypeVar("T", bound=np.generic)


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


@dataclass(frozen=True, eq=False)
class Arranged:
    """The first k places of answers.

    Attributes:
        items: int32 [B, k], item rows, padded with 0.
        columns: int64 [B, k], which candidate each is; -1 for a pinned item that was none.
        pinned: bool [B, k], what stands there by a pin.
        moved: int64 [B, rules], items that each cap, pin or boost moved: passed over, placed, or
            lifted within the first k.
    """

    items: NDArray[np.int32]
    columns: NDArray[np.int64]
    pinned: NDArray[np.bool_]
    moved: NDArray[np.int64]


@dataclass(frozen=True)
class Effect:
    """What a rule did since it was put to work.

    Attributes:
        rule, kind: its name and kind.
        questions: answers in which it did something.
        items: over all answers. A filter: items of the catalogue that it kept out and the filters
            before it let through; a cap: candidates it passed over; a pin: items it placed; a
            boost: items that it lifted within the answer.
    """

    rule: str
    kind: str
    questions: int
    items: int


@dataclass(frozen=True)
class _Filtering:
    place: int
    condition: Condition
    filter: Filter


@dataclass(frozen=True)
class _Pinning:
    place: int
    condition: Condition
    item: int
    at: int


@dataclass(frozen=True)
class _Boosting:
    place: int
    condition: Condition
    born: Born


class Policy:
    """Rules bound to a data set.

    Filters are applied before the search, so that an answer is never short because of them: first
    those that are alike for all queries, then the others, each kind in the order of the rules.
    After the ranking come boosts, then pins, then caps, whatever the order in which they are
    declared. Answers are made on one thread at a time; `set_available` may be called on any.

    Args:
        rules: by name.
        data: what they are checked against.

    Raises:
        RuleError: a rule does not fit the data.
    """

    def __init__(self, rules: Mapping[str, Rule], data: Dataset) -> None:
        self._names = [(name, rule.kind) for name, rule in rules.items()]
        self._everything = np.arange(len(data.items)) > 0
        self._filters: list[_Filtering] = []
        self._pins: list[_Pinning] = []
        self._boosts: list[_Boosting] = []
        self._capped: list[tuple[int, Condition]] = []
        limits, values = [], []
        for place, (name, rule) in enumerate(rules.items()):
            try:
                condition = rule.condition(data)
                if isinstance(rule, FilterRule):
                    self._filters.append(_Filtering(place, condition, rule.on(data)))
                elif isinstance(rule, Cap):
                    self._capped.append((place, condition))
                    limits.append(rule.at_most)
                    values.append(rule.on(data))
                elif isinstance(rule, Pin):
                    self._pins.append(_Pinning(place, condition, rule.on(data), rule.place))
                elif isinstance(rule, Freshness):
                    self._boosts.append(_Boosting(place, condition, rule.on(data)))
            except RuleError as error:
                raise error.of(name) from None
        self._caps = Caps(limits, values, len(data.items))
        self._questions = np.zeros(len(rules), np.int64)
        self._items = np.zeros(len(rules), np.int64)
        self._nobody = Queries.of(Histories.empty(1))
        self._conditions = [rule.condition(data) for rule in rules.values()]
        alike = [
            each.condition.always and each.filter.groups(self._nobody) is None
            for each in self._filters
        ]
        self._fixed = [each for each, same in zip(self._filters, alike, strict=True) if same]
        self._varying = [each for each, same in zip(self._filters, alike, strict=True) if not same]
        self._settle()

    def __len__(self) -> int:
        """How many rules there are."""
        return len(self._names)

    # -- before the search ----------------------------------------------------------------------

    def _settle(self) -> None:
        """Joins the masks that are alike for all queries."""
        mask, barred = self._everything, np.zeros(len(self._names), np.int64)
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

    @property
    def context_columns(self) -> dict[str, pl.DataType]:
        """The columns of a query's context that rules look at, with a type for each."""
        found: dict[str, pl.DataType] = {}
        looked_at: list[tuple[Place, pl.DataType]] = [
            (place, pl.Float64()) for each in self._filters for place in each.filter.places()
        ]
        looked_at += [pair for each in self._conditions for pair in each.columns().items()]
        for place, kind in looked_at:
            if place.part == "context":
                # What is a number for one rule and a text for another can be written as a text.
                same = found.get(place.column, kind) == kind
                found[place.column] = kind if same else pl.String()
        return found

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
        for stock in stocks:
            stock.set(places, available)
        self._settle()

    # -- after the ranking ----------------------------------------------------------------------

    @property
    def arranges(self) -> bool:
        """Whether there is a boost, a pin or a cap."""
        return bool(self._boosts or self._pins or self._capped)

    def arrange(
        self,
        items: NDArray[np.int32],
        k: int,
        queries: Queries,
        *,
        mask: NDArray[np.bool_] | None = None,
        excluded: Histories | None = None,
    ) -> Arranged:
        """The first k candidates of each query under boosts, pins and caps.

        Args:
            items: int32 [B, K], candidates that are allowed, each once, in their order; 0 for none.
            k: how many.
            queries: [B].
            mask: bool [item rows], what may be pinned, as `allowed` gives it; None for all.
            excluded: items that may not be pinned, [B], such as those that were seen.
        """
        moved = np.zeros((len(items), len(self._names)), np.int64)
        order = self._boosted(items, k, queries, moved)
        in_order = items if order is None else np.take_along_axis(items, order, axis=1)
        in_order = np.ascontiguousarray(in_order)
        pins = self._pinned(queries, mask, excluded)
        on = np.ones((len(items), len(self._capped)), np.bool_)
        for cap, (_, condition) in enumerate(self._capped):
            on[:, cap] = condition.holds(queries)
        places = np.array([pin.at for pin in self._pins], np.int64)
        caps = self._caps
        columns, chosen, passed = arrange(
            in_order, k, pins, places, caps.offsets, caps.values, caps.limits, caps.caps, on
        )
        for cap, (place, _) in enumerate(self._capped):
            moved[:, place] = passed[:, cap]
        for number, pin in enumerate(self._pins):
            moved[:, pin.place] = (chosen == number).any(axis=1)
        best = _at(in_order, columns, 0)
        pinned = chosen >= 0
        best[pinned] = pins[np.nonzero(pinned)[0], chosen[pinned]]
        if order is not None:
            columns = _at(order, columns, -1)
        return Arranged(best, columns, pinned, moved)

    def _boosted(
        self, items: NDArray[np.int32], k: int, queries: Queries, moved: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """int64 [B, K], the candidates in the order that boosts give them; None where it stays."""
        if not self._boosts or items.shape[1] == 0:
            return None
        ranks = np.arange(1, items.shape[1] + 1, dtype=np.float64)
        divisors = []
        for boost in self._boosts:
            holds = boost.condition.holds(queries)[:, None]
            divisors.append(np.where(holds, boost.born.divisors(items, queries.as_of), 1.0))
        lifted = ranks / np.prod(divisors, axis=0)
        order = np.argsort(np.where(items > 0, lifted, np.inf), axis=1, kind="stable")
        first = order[:, :k]
        risen = first > np.arange(first.shape[1])
        for boost, divisor in zip(self._boosts, divisors, strict=True):
            by_this = np.take_along_axis(divisor, first, axis=1) > 1.0
            moved[:, boost.place] = (risen & by_this).sum(axis=1)
        return order

    def _pinned(
        self, queries: Queries, mask: NDArray[np.bool_] | None, excluded: Histories | None
    ) -> NDArray[np.int32]:
        """int32 [B, P], the items to pin; 0 where a pin does not hold."""
        pins = np.zeros((len(queries), len(self._pins)), np.int32)
        for number, pin in enumerate(self._pins):
            if mask is not None and not mask[pin.item]:
                continue
            holds = pin.condition.holds(queries)
            if excluded is not None:
                holds[excluded.rows_of_events()[excluded.items == pin.item]] = False
            pins[holds, number] = pin.item
        return pins

    # -- what they did --------------------------------------------------------------------------

    def record(self, allowed: Allowed, moved: NDArray[np.int64] | None = None) -> None:
        """Counts what the rules did in some answers; `moved` is that of `Arranged`."""
        n = len(allowed.rows)
        self._items += allowed.barred * n
        self._questions += (allowed.barred > 0) * n
        if moved is not None:
            self._items += moved.sum(axis=0)
            self._questions += (moved > 0).sum(axis=0)

    def effects(self) -> tuple[Effect, ...]:
        """What each rule did so far, in the order of the rules; the numbers only grow."""
        counts = zip(self._questions.tolist(), self._items.tolist(), strict=True)
        return tuple(
            Effect(name, kind, questions, items)
            for (name, kind), (questions, items) in zip(self._names, counts, strict=True)
        )


def _alike(keys: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of keys [B, n] in groups of equal ones, each int64 and rising."""
    if len(keys) == 0:
        return
    if keys.shape[1] == 0 or len(keys) == 1:
        yield np.arange(len(keys))
        return
    _, number, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    yield from np.split(np.argsort(number.ravel(), kind="stable"), np.cumsum(counts)[:-1])


def _at(values: NDArray[T], columns: NDArray[np.int64], otherwise: int) -> NDArray[T]:
    """values[row, columns[row, place]], and `otherwise` where a column is -1."""
    if values.shape[1] == 0:
        return np.full(columns.shape, otherwise, values.dtype)
    found = np.take_along_axis(values, np.maximum(columns, 0), axis=1)
    return np.where(columns >= 0, found, np.asarray(otherwise, values.dtype))
