"""Boosts, pins and caps together: the first places of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.kernels.arranging import arrange
from tastemap.policy.asking import Condition
from tastemap.policy.caps import Caps
from tastemap.policy.freshness import Born

__all__ = ["Arranged", "Arranger", "Boosting", "Capping", "Pinning"]

T = TypeVar("T", bound=np.generic)


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
class Boosting:
    """A boost, for whom it holds, and its number among the rules."""

    place: int
    condition: Condition
    born: Born


@dataclass(frozen=True)
class Pinning:
    """An item row pinned at a place, for whom, and the pin's number among the rules."""

    place: int
    condition: Condition
    item: int
    at: int


@dataclass(frozen=True, eq=False)
class Capping:
    """A cap, for whom it holds, its number among the rules, and the values of items as offsets
    int64 [item rows + 1] and numbers."""

    place: int
    condition: Condition
    at_most: int
    values: tuple[NDArray[np.int64], NDArray[np.int64]]


class Arranger:
    """Boosts first, then pins, then caps.

    Args:
        boosts, pins, caps: each in the order of the rules.
        n_items: item rows.
        n_rules: rules of all kinds.
    """

    def __init__(
        self,
        boosts: Sequence[Boosting],
        pins: Sequence[Pinning],
        caps: Sequence[Capping],
        n_items: int,
        n_rules: int,
    ) -> None:
        self._boosts, self._pins, self._capped = tuple(boosts), tuple(pins), tuple(caps)
        self._caps = Caps([cap.at_most for cap in caps], [cap.values for cap in caps], n_items)
        self._n_rules = n_rules

    def __bool__(self) -> bool:
        """Whether there is anything to arrange."""
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
        moved = np.zeros((len(items), self._n_rules), np.int64)
        order = self._boosted(items, k, queries, moved)
        in_order = items if order is None else np.take_along_axis(items, order, axis=1)
        in_order = np.ascontiguousarray(in_order)
        pins = self._pinned(queries, mask, excluded)
        on = np.ones((len(items), len(self._capped)), np.bool_)
        for number, cap in enumerate(self._capped):
            on[:, number] = cap.condition.holds(queries)
        places = np.array([pin.at for pin in self._pins], np.int64)
        caps = self._caps
        columns, chosen, passed = arrange(
            in_order, k, pins, places, caps.offsets, caps.values, caps.limits, caps.caps, on
        )
        for number, cap in enumerate(self._capped):
            moved[:, cap.place] = passed[:, number]
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


def _at(values: NDArray[T], columns: NDArray[np.int64], otherwise: int) -> NDArray[T]:
    """values[row, columns[row, place]], and `otherwise` where a column is -1."""
    if values.shape[1] == 0:
        return np.full(columns.shape, otherwise, values.dtype)
    found = np.take_along_axis(values, np.maximum(columns, 0), axis=1)
    return np.where(columns >= 0, found, np.asarray(otherwise, values.dtype))
