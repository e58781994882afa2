"""Everybody's events, by item and time: what an item had seen until a moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories, group_by_row
from tastemap.kernels.event_totals import (
    GroupedEvents,
    Totals,
    counts_until,
    last_before,
    totals_until,
)

__all__ = ["ItemEvents"]

# Events are few where there are so many items to each.
_FEW = 16

# Items, times and values.
_Events = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float32]]


class ItemEvents:
    """Running sums of the events of each item, which later events are added to.

    Args:
        histories: the events.
        n_items: item rows.
        liking: the value from which on an event is a like.
    """

    def __init__(self, histories: Histories, n_items: int, liking: float) -> None:
        self._n_items = n_items
        self._liking = liking
        known = histories.known(n_items)
        self._parts = [self._grouped(known.items, known.times, known.values)]
        self._later: list[_Events] = []  # what the parts but the first were made of

    def _grouped(
        self, items: NDArray[np.int32], times: NDArray[np.float64], values: NDArray[np.float32]
    ) -> GroupedEvents:
        # All events stand once more as those of row 0, which no item has.
        rows = np.concatenate([np.zeros(len(items), np.int32), items])
        twice = np.tile(times, 2)
        if len(items) == 0 or len(items) > self._n_items // _FEW:
            groups = np.empty(0, np.int32)
            offsets, order = group_by_row(rows, twice, self._n_items)
        else:
            # A place for each item would take longer to lay out than the events.
            groups, places = np.unique(rows, return_inverse=True)
            offsets, order = group_by_row(places.astype(np.int32), twice, len(groups))
        values = np.tile(values, 2)[order]
        return GroupedEvents.of(groups, offsets, twice[order], values >= self._liking, values)

    def add(
        self, items: NDArray[np.int32], times: NDArray[np.float64], values: NDArray[np.float32]
    ) -> None:
        """Adds events [m], in any order; those of unknown items (row 0) are left out. Others may
        ask meanwhile."""
        known = items > 0
        events: _Events = (items[known], times[known], values[known])
        if len(events[0]) == 0:
            return
        # Only parts that are no longer than what comes are sorted anew, so that an event is sorted
        # some log₂(m) times, however few come at once.
        while self._later and len(self._later[-1][0]) <= len(events[0]):
            before = self._later.pop()
            events = (
                np.concatenate([before[0], events[0]]),
                np.concatenate([before[1], events[1]]),
                np.concatenate([before[2], events[2]]),
            )
        self._later.append(events)
        self._parts = [*self._parts[: len(self._later)], self._grouped(*events)]

    @property
    def state(self) -> object:
        """Another object after each `add`."""
        return self._parts

    def last_before(self, moments: NDArray[np.float64]) -> NDArray[np.float64]:
        """The time of the last event of all before each moment [n]; 0 where there is none."""
        return last_before(self._parts, moments)

    def counts_until(
        self, items: NDArray[np.int32], moments: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """How many events each item [n] had seen before a moment [n], as `until` counts them."""
        return counts_until(self._parts, items, moments)

    def until(
        self,
        items: NDArray[np.int32],
        moments: NDArray[np.float64],
        windows: NDArray[np.float64],
    ) -> Totals:
        """What each item [n] had seen before a moment [n]; all items together for item row 0.

        Args:
            windows: float64 [n, windows], the beginnings of recent times, the shortest first.
        """
        return totals_until(self._parts, items, moments, windows)
