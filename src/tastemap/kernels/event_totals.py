"""How many events a group had until a moment, what they were worth: by search in running sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["GroupedEvents", "Totals", "totals_until"]


class GroupedEvents(NamedTuple):
    """Events by group and time, with running sums over all of them.

    Attributes:
        offsets: int64 [groups + 1]; group i has the events offsets[i]:offsets[i+1].
        times: float64 [m], rising within a group.
        likes: int64 [m + 1], how many of the first j events are likes.
        values: float64 [m + 1], the sum of the values of the first j events.
    """

    offsets: NDArray[np.int64]
    times: NDArray[np.float64]
    likes: NDArray[np.int64]
    values: NDArray[np.float64]


@nb.njit(cache=True, nogil=True)
def _first_not_before(times: Any, start: int, stop: int, moment: float) -> int:
    """The first place in the rising times[start:stop] that is not before a moment, or stop."""
    while start < stop:
        middle = (start + stop) // 2
        if times[middle] < moment:
            start = middle + 1
        else:
            stop = middle
    return start


@nb.njit(cache=True, nogil=True)
def _totals(
    offsets: Any,
    times: Any,
    likes: Any,
    values: Any,
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
        start, end = offsets[groups[row]], offsets[groups[row] + 1]
        if start == end or not times[start] < until[row]:
            continue
        stop = end
        if not times[end - 1] < until[row]:
            stop = _first_not_before(times, start, end, until[row])
        counts[row] += stop - start
        like_counts[row] += likes[stop] - likes[start]
        sums[row] += values[stop] - values[start]
        firsts[row] = min(firsts[row], times[start])
        upper = stop
        # Windows come from the shortest to the longest.
        for window in range(since.shape[1]):
            upper = _first_not_before(times, start, upper, since[row, window])
            recent[row, window] += stop - upper


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
