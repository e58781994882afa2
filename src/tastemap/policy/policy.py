"""Rules at work: masks before a search, the order of an answer after it, and what they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import RuleError
from tastemap.policy.arranger import Arranged, Arranger, Boosting, Capping, Pinning
from tastemap.policy.asking import Place
from tastemap.policy.caps import Cap
from tastemap.policy.filters import Allowed, Filtering, Filters
from tastemap.policy.freshness import Freshness
from tastemap.policy.pins import Pin
from tastemap.policy.rule import FilterRule, Rule

__all__ = ["Allowed", "Arranged", "Effect", "Policy"]


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
        self._looks_at: list[tuple[Place, pl.DataType]] = []
        filters: list[Filtering] = []
        boosts: list[Boosting] = []
        pins: list[Pinning] = []
        caps: list[Capping] = []
        for place, (name, rule) in enumerate(rules.items()):
            try:
                condition = rule.condition(data)
                self._looks_at += condition.columns().items()
                if isinstance(rule, FilterRule):
                    filters.append(Filtering(place, condition, rule.on(data)))
                    self._looks_at += [(at, pl.Float64()) for at in filters[-1].filter.places()]
                elif isinstance(rule, Cap):
                    caps.append(Capping(place, condition, rule.at_most, rule.on(data)))
                elif isinstance(rule, Pin):
                    pins.append(Pinning(place, condition, rule.on(data), rule.place))
                elif isinstance(rule, Freshness):
                    boosts.append(Boosting(place, condition, rule.on(data)))
            except RuleError as error:
                raise error.of(name) from None
        self._filters = Filters(filters, len(data.items), len(rules))
        self._arranger = Arranger(boosts, pins, caps, len(data.items), len(rules))
        self._questions = np.zeros(len(rules), np.int64)
        self._items = np.zeros(len(rules), np.int64)

    def __len__(self) -> int:
        """How many rules there are."""
        return len(self._names)

    def allowed(
        self, queries: Queries, among: NDArray[np.bool_] | None = None
    ) -> Iterator[Allowed]:
        """The queries in groups that may be shown the same items; see `Filters.allowed`."""
        return self._filters.allowed(queries, among)

    def strictest(self, among: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
        """What may be shown where nothing is known of who asks; see `Filters.strictest`."""
        return self._filters.strictest(among)

    def set_available(self, rows: ArrayLike, available: bool) -> None:
        """Says of some item rows [n] that they are to be had, or are not, from now on.

        Raises:
            ParameterError: no rule of kind "availability", or a row that is no item's.
        """
        self._filters.set_available(rows, available)

    @property
    def arranges(self) -> bool:
        """Whether there is a boost, a pin or a cap."""
        return bool(self._arranger)

    def arrange(
        self,
        items: NDArray[np.int32],
        k: int,
        queries: Queries,
        *,
        mask: NDArray[np.bool_] | None = None,
        excluded: Histories | None = None,
    ) -> Arranged:
        """The first k candidates of each query; see `Arranger.arrange`."""
        return self._arranger.arrange(items, k, queries, mask=mask, excluded=excluded)

    @property
    def context_columns(self) -> dict[str, pl.DataType]:
        """The columns of a query's context that rules look at, with a type for each."""
        found: dict[str, pl.DataType] = {}
        for place, kind in self._looks_at:
            if place.part == "context":
                # What is a number for one rule and a text for another can be written as a text.
                same = found.get(place.column, kind) == kind
                found[place.column] = kind if same else pl.String()
        return found

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
