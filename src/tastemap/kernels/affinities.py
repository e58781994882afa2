"""What a history says of categories: how often each was taken, how well it was liked, and when."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["Affinities", "Known", "affinities", "last_items"]


class Known(NamedTuple):
    """Which of some shared events each of B moments knows.

    Attributes:
        items: int32 [m], in order of time within a history; times float64 [m]; values float32 [m];
            liked bool [m].
        start, stop: int64 [B]: moment i knows the events start[i]:stop[i].
    """

    items: NDArray[np.int32]
    times: NDArray[np.float64]
    values: NDArray[np.float32]
    liked: NDArray[np.bool_]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]


class Affinities(NamedTuple):
    """What `affinities` found, about B moments and n candidates.

    Attributes:
        counts, likes: int64 [B], known events and likes.
        values: float64 [B], the sum of the events' values.
        lasts: float64 [B], the time of the last known event; NaN where there is none.
        shares: float32 [n, columns], the share of the known events that had a category of the
            candidate's, the mean over its categories.
        rates: float32 [n, columns], the smoothed share of likes among those, the mean likewise.
        ages: float32 [n, columns], seconds since one of the categories was last taken; NaN: never.
        similarities: float32 [n], the mean cosine between the candidate's categories and those of
            the last items.
    """

    counts: NDArray[np.int64]
    likes: NDArray[np.int64]
    values: NDArray[np.float64]
    lasts: NDArray[np.float64]
    shares: NDArray[np.float32]
    rates: NDArray[np.float32]
    ages: NDArray[np.float32]
    similarities: NDArray[np.float32]


@nb.njit(cache=True, nogil=True)
def _affinities(
    items: Any,
    times: Any,
    values: Any,
    liked: Any,
    start: Any,
    stop: Any,
    now: Any,
    usual_rate: Any,
    offsets: Any,
    candidates: Any,
    item_offsets: Any,
    item_categories: Any,
    column_of: Any,
    prior: float,
    last: int,
    moment_counts: Any,
    moment_likes: Any,
    moment_values: Any,
    moment_lasts: Any,
    shares: Any,
    rates: Any,
    ages: Any,
    similarities: Any,
    taken: Any,
    likes: Any,
    last_taken: Any,
    touched: Any,
    weights: Any,
) -> None:
    n_touched = 0
    of_column = np.zeros(shares.shape[1], np.int64)
    begin = end = np.int64(-1)
    n_likes = 0
    total = 0.0
    for moment in range(len(start)):
        # Where a moment knows what the one before knew and more, as those of one user in order of
        # time do, only the new events are looked at.
        if start[moment] != begin or stop[moment] < end:
            for place in range(n_touched):
                taken[touched[place]] = likes[touched[place]] = 0
            n_touched = n_likes = 0
            total = 0.0
            begin = end = start[moment]
        for event in range(end, stop[moment]):
            n_likes += liked[event]
            total += values[event]
            item = items[event]
            for place in range(item_offsets[item], item_offsets[item + 1]):
                category = item_categories[place]
                if taken[category] == 0:
                    touched[n_touched] = category
                    n_touched += 1
                taken[category] += 1
                likes[category] += liked[event]
                last_taken[category] = times[event]
        end = stop[moment]
        known = end - begin
        moment_counts[moment] = known
        moment_likes[moment] = n_likes
        moment_values[moment] = total
        if known:
            moment_lasts[moment] = times[end - 1]
        recent = max(begin, end - last)
        for event in range(recent, end):
            first, after = item_offsets[items[event]], item_offsets[items[event] + 1]
            for place in range(first, after):
                weights[item_categories[place]] += 1.0 / np.sqrt(after - first) / (end - recent)
        own_rate = (n_likes + prior * usual_rate[moment]) / (known + prior)
        for row in range(offsets[moment], offsets[moment + 1]):
            first = item_offsets[candidates[row]]
            after = item_offsets[candidates[row] + 1]
            of_column[:] = 0
            for place in range(first, after):
                of_column[column_of[item_categories[place]]] += 1
            for column in range(len(of_column)):
                if of_column[column] == 0:
                    shares[row, column] = rates[row, column] = np.nan
            similarity = 0.0
            for place in range(first, after):
                category = item_categories[place]
                column = column_of[category]
                rate = (likes[category] + prior * own_rate) / (taken[category] + prior)
                rates[row, column] += rate / of_column[column]
                similarity += weights[category]
                if taken[category]:
                    shares[row, column] += taken[category] / known / of_column[column]
                    age = now[moment] - last_taken[category]
                    # Histories given as bare ids have no times: they are 0.
                    if last_taken[category] > 0 and not ages[row, column] <= age:
                        ages[row, column] = age
            if after > first:
                similarities[row] = similarity / np.sqrt(after - first)
        for event in range(recent, end):
            for place in range(item_offsets[items[event]], item_offsets[items[event] + 1]):
                weights[item_categories[place]] = 0.0
    for place in range(n_touched):
        taken[touched[place]] = likes[touched[place]] = 0


def affinities(
    known: Known,
    now: NDArray[np.float64],
    usual_rate: NDArray[np.float64],
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int32],
    item_offsets: NDArray[np.int64],
    item_categories: NDArray[np.int32],
    column_of: NDArray[np.int32],
    *,
    prior: float,
    last: int,
) -> Affinities:
    """How well candidates fit what is known of those who ask, category by category.

    Args:
        known: the events of B moments.
        now: float64 [B], from when ages count.
        usual_rate: float64 [B], the share of likes among all events until then, to which a user's
            own share is drawn, and to that the share of each category.
        offsets, candidates: int64 [B+1] and int32 [n], the item rows asked about, by moment.
        item_offsets, item_categories: int64 [item rows + 1] and int32, each item's categories.
        column_of: int32 [categories], the column of the table that each category stands in.
        prior: how many events the drawing counts as.
        last: how many of the last items the similarity looks at.
    """
    n, columns = len(candidates), int(column_of.max(initial=-1)) + 1
    found = Affinities(
        np.zeros(len(now), np.int64),
        np.zeros(len(now), np.int64),
        np.zeros(len(now)),
        np.full(len(now), np.nan),
        np.zeros((n, columns), np.float32),
        np.zeros((n, columns), np.float32),
        np.full((n, columns), np.nan, np.float32),
        np.zeros(n, np.float32),
    )
    counters = _counters(len(column_of))
    _affinities(
        *known,
        now,
        usual_rate,
        offsets,
        candidates,
        item_offsets,
        item_categories,
        column_of,
        prior,
        last,
        *found,
        *counters,
    )
    _IDLE[len(column_of)].append(counters)
    return found


# Counters of categories, all 0, by how many; a call takes some and brings them back. To make them
# anew for each request would take longer than its whole history, where authors are categories.
_IDLE: defaultdict[int, list[tuple[NDArray[Any], ...]]] = defaultdict(list)


def _counters(n: int) -> tuple[NDArray[Any], ...]:
    try:
        return _IDLE[n].pop()
    except IndexError:
        return tuple(np.zeros(n, dtype) for dtype in (np.int64, np.int64, float, np.int64, float))


@nb.njit(cache=True, nogil=True)
def _last_items(
    items: Any, wanted: Any, start: Any, stop: Any, n: int, counts: Any, found: Any
) -> None:
    for row in range(len(start)):
        event, count = stop[row], 0
        while event > start[row] and count < n:
            event -= 1
            if wanted[event] and items[event] > 0:
                count += 1
                found[row, n - count] = items[event]
        counts[row] = count


def last_items(
    items: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    n: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The last n wanted items of events start[i]:stop[i], the oldest first.

    Returns:
        offsets int64 [B+1] and item rows int64; unknown items (row 0) are left out.
    """
    counts = np.zeros(len(start), np.int64)
    found = np.zeros((len(start), n), np.int64)
    _last_items(items, wanted, start, stop, n, counts, found)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return offsets, found[found > 0]
