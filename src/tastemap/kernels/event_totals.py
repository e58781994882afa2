"""How many events a group had until a moment, what they were worth: by search in running sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["GroupedEvents", "Totals", "counts_until", "last_before", "totals_until"]


class GroupedEvents(NamedTuple):
    """Events by group and time, with running sums over all of them.

    What is known of an event stands side by side, since a request looks at few events of each of
    many groups, and so to come by each of them is what takes time.

    Attributes:
        groups: int32 [groups], those that have events, rising; empty where all have a place, so
            that group i stands at place i.
        offsets: int64 [places + 1]; place i has the events offsets[i]:offsets[i+1].
        events: float64 [m + 1, 3]; of event j its time, rising within a group, and how many of the
            first j events are likes, and the sum of their values. The last row has the sums of all.
    """

    groups: NDArray[np.int32]
    offsets: NDArray[np.int64]
    events: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        groups: NDArray[np.int32],
        offsets: NDArray[np.int64],
        times: NDArray[np.float64],
        liked: NDArray[np.bool_],
        values: NDArray[np.float32],
    ) -> GroupedEvents:
        """Events [m] that stand in order."""
        events = np.zeros((len(times) + 1, 3))
        events[:-1, 0], events[-1, 0] = times, np.inf
        np.cumsum(liked, dtype=np.float64, out=events[1:, 1])
        np.cumsum(values, dtype=np.float64, out=events[1:, 2])
        return cls(groups, offsets, events)


@nb.njit(cache=True, nogil=True)
def _first_not_before(events: Any, start: int, stop: int, moment: float) -> int:
    """The first place in the rising times of events[start:stop] that is not before a moment, or
    stop."""
    while start < stop:
        middle = (start + stop) // 2
        if events[middle, 0] < moment:
            start = middle + 1
        else:
            stop = middle
    return start


@nb.njit(cache=True, nogil=True)
def _place_of(groups: Any, group: int) -> int:
    """Where a group stands; -1 where it has no events."""
    if len(groups) == 0:
        return group
    start, stop = 0, len(groups)
    while start < stop:
        middle = (start + stop) // 2
        if groups[middle] < group:
            start = middle + 1
        else:
            stop = middle
    return start if start < len(groups) and groups[start] == group else -1


@nb.njit(cache=True, nogil=True)
def _totals(
    some: Any,
    offsets: Any,
    events: Any,
    groups: Any,
    until: Any,
    since: Any,
    counts: Any,
    like_counts: Any,
    sums: Any,
    firsts: Any,
    recent: Any,
) -> None:
    for row in range(len(groups)):
        place = _place_of(some, groups[row])
        if place < 0:
            continue
        start, end = offsets[place], offsets[place + 1]
        if start == end or not events[start, 0] < until[row]:
            continue
        stop = end
        if not events[end - 1, 0] < until[row]:
            stop = _first_not_before(events, start, end, until[row])
        counts[row] += stop - start
        like_counts[row] += events[stop, 1] - events[start, 1]
        sums[row] += events[stop, 2] - events[start, 2]
        firsts[row] = min(firsts[row], events[start, 0])
        upper = stop
        # Windows come from the shortest to the longest.
        for window in range(since.shape[1]):
            upper = _first_not_before(events, start, upper, since[row, window])
            recent[row, window] += stop - upper


@nb.njit(cache=True, nogil=True)
def _last_before(groups: Any, offsets: Any, events: Any, moments: Any, last: Any) -> None:
    # Group 0 stands first, and has all events.
    for row in range(len(moments)):
        place = _first_not_before(events, offsets[0], offsets[1], moments[row])
        if place > offsets[0]:
            last[row] = max(last[row], events[place - 1, 0])


def last_before(parts: list[GroupedEvents], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """The time of the last event of group 0 before each moment [n]; 0 where there is none."""
    last = np.zeros(len(moments))
    for part in parts:
        _last_before(*part, moments, last)
    return last


@nb.njit(cache=True, nogil=True)
def _counts(some: Any, offsets: Any, events: Any, groups: Any, until: Any, counts: Any) -> None:
    for row in range(len(groups)):
        place = _place_of(some, groups[row])
        if place < 0:
            continue
        start, stop = offsets[place], offsets[place + 1]
        if until[row] < np.inf:
            stop = _first_not_before(events, start, stop, until[row])
        counts[row] += stop - start


def counts_until(
    parts: list[GroupedEvents], groups: NDArray[np.int32], until: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The `counts` of `totals_until` alone, int64 [n]."""
    counts = np.zeros(len(groups), np.int64)
    for part in parts:
        _counts(*part, groups, until, counts)
    return counts


class Totals(NamedTuple):
    """What `totals_until` found for n questions.

    Attributes:
        counts, likes: int64 [n], events and likes before the moment.
        values: float64 [n], the sum of their values.
        firsts: float64 [n], the time of the first; inf where there is none.
        recent: int64 [n, windows], events from `since` on and before the moment.
    """

    counts: NDArray[np.int64]
    likes: NDArray[np.int64]
    values: NDArray[np.float64]
    firsts: NDArray[np.float64]
    recent: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Totals:
        """Some of the answers, in the order asked for."""
        return Totals(
            self.counts[rows],
            self.likes[rows],
            self.values[rows],
            self.firsts[rows],
            self.recent[rows],
        )


def totals_until(
    parts: list[GroupedEvents],
    groups: NDArray[np.int32],
    until: NDArray[np.float64],
    since: NDArray[np.float64],
) -> Totals:
    """Sums over the events of a group that came before a moment.

    Args:
        parts: the events, in any number of parts whose sums are added.
        groups: [n].
        until: float64 [n], the moments; events at that time are not counted, inf takes all.
        since: float64 [n, windows], the beginnings of windows, the shortest window first.
    """
    n = len(groups)
    found = Totals(
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.full(n, np.inf),
        np.zeros(since.shape, np.int64),
    )
    for part in parts:
        _totals(*part, groups, until, since, *found)
    return found
