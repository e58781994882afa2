"""Accuracy of ranked lists, a value per user.

Two things are all these metrics need to know of a user: which places of the list hold a relevant
item, and how many relevant items there are. `judge` finds both, once for all metrics:

    hits, n_relevant = judge(recommended, offsets, relevant)
    ndcg(hits, n_relevant, k=10).mean()

Gains are binary. Users with nothing relevant have no value: NaN (ranx says 0 there; leave such
users out, or average with `numpy.nanmean`). A list shorter than k counts as if its missing places
held something irrelevant. Apart from that all conventions are those of ranx (Bassani, ECIR 2022).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.errors import ParameterError

__all__ = ["auc", "hit_rate", "judge", "map", "mrr", "ndcg", "precision", "recall", "win_rates"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BUCKETS = 1024


def judge(
    recommended: NDArray[np.int32], offsets: Ints, relevant: NDArray[np.int32]
) -> tuple[Bools, Ints]:
    """Which places of each list are hits, and how many relevant items each user has.

    Args:
        recommended: int32 [n, k], item rows of each user's list, best first; 0 is padding.
        offsets: int64 [n+1]; the relevant items of user u are relevant[offsets[u]:offsets[u+1]].
        relevant: int32 [m], item rows in any order. A repeated item is one relevant item; each 0
            (an item that no list can hold) counts as one that was not found.

    Returns:
        hits bool [n, k], where an item that a list repeats is a hit at its first place only; and
        n_relevant int64 [n].

    Raises:
        ParameterError: the shapes do not fit together.
    """
    recommended = np.asarray(recommended, np.int32)
    if recommended.ndim != 2:
        raise ParameterError(f"recommended must have two dimensions, not {recommended.ndim}")
    n = len(recommended)
    offsets, relevant = check_ragged(n, offsets, relevant)
    rows = np.repeat(np.arange(n), np.diff(offsets))
    pairs = distinct_pairs(rows[relevant > 0], relevant[relevant > 0])
    starts = np.searchsorted(pairs, np.arange(n + 1) << 32)
    hits = np.zeros(recommended.shape, np.bool_)
    _judge(recommended, starts, (pairs & 0xFFFFFFFF).astype(np.int32), hits)
    return hits, np.diff(starts) + np.bincount(rows[relevant == 0], minlength=n)


def hit_rate(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """1 where the first k hold a relevant item, else 0; float64 [n]."""
    return _defined(n_relevant, np.asarray(hits[:, :k].any(axis=1), np.float64))


def precision(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Hits in the first k, divided by k; float64 [n]."""
    return _defined(n_relevant, _found(hits, k) / k)


def recall(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Hits in the first k, divided by the number of ALL relevant items of the user; float64 [n].

    Where a user has more than k relevant items it cannot reach 1; some libraries divide by
    min(k, n_relevant) instead and so give higher values.
    """
    return _found(hits, k) / _or_nan(n_relevant)


def ndcg(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Normalised discounted cumulative gain with binary gains; float64 [n].

    A hit at rank r gains 1 / log2(r + 1); the sum is divided by that of the ideal list, whose first
    min(k, n_relevant) places are hits (Järvelin and Kekäläinen, TOIS 2002).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[np.nan], np.cumsum(discounts)])[np.minimum(n_relevant, k)]
    found = hits[:, :k]
    # Not a matrix product: its last bits would depend on the other users in the batch.
    gains = (found * discounts[: found.shape[1]]).sum(axis=1)
    return np.asarray(gains / ideal)


def map(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """Average precision: the precision at each hit of the first k, summed, divided by the number of
    ALL relevant items of the user (not by min(k, n_relevant)); float64 [n].
    """
    found = hits[:, :k]
    ranks = np.arange(1, found.shape[1] + 1)
    precisions: Floats = (found * np.cumsum(found, axis=1) / ranks).sum(axis=1)
    return precisions / _or_nan(n_relevant)


def mrr(hits: Bools, n_relevant: Ints, k: int) -> Floats:
    """1 / rank of the first hit among the first k, 0 where there is none; float64 [n]."""
    found = hits[:, :k]
    if found.shape[1] == 0:
        return _defined(n_relevant, np.zeros(len(found)))
    reciprocal = found.any(axis=1) / (found.argmax(axis=1) + 1)
    return _defined(n_relevant, reciprocal)


def auc(scores: NDArray[np.float32], offsets: Ints, relevant: NDArray[np.int32]) -> Floats:
    """Area under the ROC curve of each user; float64 [n].

    The chance that a relevant item scores above an item that is not, ties counting a half. It is
    NaN where a user has nothing relevant, or nothing irrelevant. For the arguments see `win_rates`.
    """
    return mean_by_row(win_rates(scores, offsets, relevant), np.asarray(offsets))


def win_rates(scores: NDArray[np.float32], offsets: Ints, relevant: NDArray[np.int32]) -> Floats:
    """For each relevant item, the share of the user's irrelevant items that it outscores.

    Args:
        scores: float [n, item rows], higher is better. Column 0 is ignored, and minus infinity says
            that an item was not to be recommended (it is then no irrelevant item either).
        offsets, relevant: as for `judge`. A relevant item that was not to be recommended, or is
            unknown (0), outscores none, just as it counts as not found for recall.

    Returns:
        float64 [m], ties counting a half; NaN for a repetition of a relevant item, and for users
        without an irrelevant item.

    Raises:
        ParameterError: shapes that do not fit, an item without a column, or a NaN score.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise ParameterError(f"scores must have two dimensions, not {scores.ndim}")
    offsets, relevant = check_ragged(len(scores), offsets, relevant)
    if len(relevant) and int(relevant.max()) >= scores.shape[1]:
        raise ParameterError(
            f"relevant item row {int(relevant.max())} has no column in scores of shape "
            f"{scores.shape}"
        )
    n = len(scores)
    rows = np.repeat(np.arange(n), np.diff(offsets))
    own = np.where(relevant > 0, scores[rows, relevant], -np.inf)
    counted = relevant == 0
    counted[np.unique(rows << 32 | relevant, return_index=True)[1]] = True
    rising = np.lexsort((own, rows))
    rising = rising[(counted & (own > -np.inf))[rising]]
    levels, starts = own[rising], np.searchsorted(rows[rising], np.arange(n + 1))
    wins, n_others, nan_column = _wins(scores, starts, levels)
    if nan_column.any():
        row = int(np.argmax(nan_column > 0))
        raise ParameterError(f"scores[{row}, {nan_column[row]}] is NaN")
    rates = np.where(counted, 0.0, np.nan)
    rates[rising] = wins
    return rates / _or_nan(n_others)[rows]


def distinct_pairs(rows: NDArray[Any], items: NDArray[Any]) -> Ints:
    """Distinct pairs as one number each, rows << 32 | items, rising; int64."""
    # Faster than np.unique, whose hashing does not pay where most values are distinct.
    pairs: Ints = np.sort(rows.astype(np.int64) << 32 | items)
    distinct: Ints = pairs[np.diff(pairs, prepend=-1) != 0]
    return distinct


def mean_by_row(values: Floats, offsets: Ints) -> Floats:
    """Mean of the values of each row that are not NaN; float64 [n], NaN where a row has none."""
    n = len(offsets) - 1
    rows = np.repeat(np.arange(n), np.diff(offsets))
    valid = ~np.isnan(values)
    counts = np.bincount(rows[valid], minlength=n)
    return np.asarray(np.bincount(rows[valid], values[valid], minlength=n) / _or_nan(counts))


def check_ragged(
    n: int, offsets: NDArray[Any], items: NDArray[Any]
) -> tuple[Ints, NDArray[np.int32]]:
    """Ragged item rows as int64 [n+1] and int32 [m].

    Raises:
        ParameterError: they do not describe n rows.
    """
    offsets, items = np.asarray(offsets, np.int64), np.asarray(items, np.int32)
    if offsets.shape != (n + 1,):
        raise ParameterError(f"offsets must have shape ({n + 1},), not {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
        raise ParameterError(f"offsets must rise from 0 to the number of items, {len(items)}")
    if len(items) and int(items.min()) < 0:
        raise ParameterError(f"item rows must not be negative, got {int(items.min())}")
    return offsets, items


def _found(hits: Bools, k: int) -> Floats:
    return np.asarray(hits[:, :k].sum(axis=1), np.float64)


def _or_nan(counts: Ints) -> Floats:
    """The counts as divisors, NaN for 0, so that what is not defined is NaN without a warning."""
    return np.where(counts > 0, counts, np.nan)


def _defined(n_relevant: Ints, values: Floats) -> Floats:
    return np.where(n_relevant > 0, values, np.nan)


@nb.njit(cache=True, nogil=True, inline="always")
def _lower_bound(values: Any, value: Any, low: Any, high: Any) -> Any:
    """The first place in low:high of rising values that is not below `value`, else high."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(cache=True, nogil=True)
def _judge(recommended: Any, starts: Any, relevant: Any, hits: Any) -> None:
    for row in range(len(recommended)):
        wanted = relevant[starts[row] : starts[row + 1]]
        found = np.zeros(len(wanted), np.bool_)
        for place in range(recommended.shape[1]):
            i = _lower_bound(wanted, recommended[row, place], 0, len(wanted))
            if i < len(wanted) and wanted[i] == recommended[row, place] and not found[i]:
                found[i] = True
                hits[row, place] = True


@parallel_njit()
def _wins(scores: Any, starts: Any, levels: Any) -> Any:
    """For each level (a relevant item's score) how many irrelevant items score below it."""
    n_rows, n_items = scores.shape
    wins = np.zeros(len(levels))
    n_others = np.zeros(n_rows, np.int64)
    nan_column = np.zeros(n_rows, np.int64)
    for row in nb.prange(n_rows):
        mine = levels[starts[row] : starts[row + 1]]
        n = len(mine)
        # Each candidate finds its place among the few levels. Buckets of equal width make that
        # one step for most of them; a bucket that holds levels is searched.
        bucket_starts = np.zeros(_BUCKETS + 2, np.int64)
        lowest, highest, scale = np.inf, np.inf, 0.0
        if n > 0:
            lowest, highest = np.float64(mine[0]), np.float64(mine[n - 1])
            if 0.0 < highest - lowest < np.inf:
                scale = _BUCKETS / (highest - lowest)
            for i in range(n):
                bucket_starts[int((mine[i] - lowest) * scale) + 1 if scale > 0 else 1] += 1
            for bucket in range(_BUCKETS + 1):
                bucket_starts[bucket + 1] += bucket_starts[bucket]
        below = np.zeros(n + 1, np.int64)
        equal = np.zeros(n + 1, np.int64)
        n_candidates = 0
        for item in range(1, n_items):
            score = scores[row, item]
            if score > -np.inf:
                n_candidates += 1
                if score < lowest:
                    below[0] += 1
                elif score > highest:
                    below[n] += 1
                elif n > 0:
                    bucket = int((score - lowest) * scale) if scale > 0 else 0
                    high = bucket_starts[bucket + 1]
                    i = _lower_bound(mine, score, bucket_starts[bucket], high)
                    if i < high and mine[i] == score:
                        equal[i] += 1
                    else:
                        below[i] += 1
            elif np.isnan(score):
                nan_column[row] = item
        n_others[row] = n_candidates - n
        lower = 0
        i = 0
        while i < n:
            same = i
            while same < n and mine[same] == mine[i]:
                same += 1
            # Other relevant items are no rivals: i of them are below, same - i are equal.
            lower += below[i]
            ties = equal[i] - (same - i)
            wins[starts[row] + i : starts[row] + same] = lower - i + 0.5 * ties
            lower += equal[i]
            i = same
    return wins, n_others, nan_column
