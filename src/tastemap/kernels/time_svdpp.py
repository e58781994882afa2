"""SGD epochs of timeSVD++ (Koren 2009) on the CPU, in place on float32 tables.

As in `svdpp`: users in blocks, those of a block at once from the items as they were, and the sum of
the y_j is moved in place of each y_j.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST
from tastemap.kernels.svdpp import ITEM_PARTS, move_items, sum_rows

__all__ = [
    "Days",
    "Events",
    "Items",
    "Rates",
    "Users",
    "time_svdpp_epoch",
    "time_svdpp_fold_in",
]

_Floats = NDArray[np.float32]


class Events(NamedTuple):
    """Ratings by user, without the unknown item.

    Attributes:
        offsets: int64 [users + 1]. items: int32 [m].
        values: float32 [m], less the mean of all ratings.
        drifts: float32 [m], dev_u(t).
        days: int64 [m], the row in `Days` of the user's day.
        bins: int64 [m], the item's bin of time.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    values: _Floats
    drifts: _Floats
    days: NDArray[np.int64]
    bins: NDArray[np.int64]


class Users(NamedTuple):
    """Of each user: taste p and its drift, float32 [users, k]; bias b, its drift and the scale of
    item biases, float32 [users]."""

    taste: _Floats
    taste_drift: _Floats
    bias: _Floats
    bias_drift: _Floats
    scale: _Floats


class Days(NamedTuple):
    """What is added on each day of each user: float32 [days, k], [days] and [days]."""

    taste: _Floats
    bias: _Floats
    scale: _Floats


class Items(NamedTuple):
    """Of each item: q and y, float32 [item rows, k], bias [item rows] and what is added to it in
    each bin of time [item rows, bins]."""

    factors: _Floats
    implicit: _Floats
    bias: _Floats
    bin_bias: _Floats


class Rates(NamedTuple):
    """Step size, and penalties for vectors, biases, and both of them in time; float32 each."""

    rate: Any
    decay: Any
    bias_decay: Any
    time_decay: Any
    time_bias_decay: Any


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def _user_pass(
    u: Any, events: Any, users: Any, days: Any, items: Any, rates: Any,
    z: Any, learn_z: Any, to_q: Any, to_c: Any, added: Any,
) -> Any:  # fmt: skip
    """One pass over the ratings of a user; see `time_svdpp_epoch`.

    Args:
        z: float32 [k], the sum of the y_j; moved along where learn_z is 1, left alone where it is
            0 (float32).
        to_q, to_c: float32 [n, k] and [n], set to what each rating adds to q_i, and to c_i and its
            bin. added: float32 [k], set to what the pass adds to each y_j.

    Returns:
        The sum of e², float64.
    """
    one = np.float32(1)
    rate = rates.rate
    keep, bias_keep = one - rate * rates.decay, one - rate * rates.bias_decay
    time_keep, time_bias_keep = one - rate * rates.time_decay, one - rate * rates.time_bias_decay
    z_keep = one - learn_z * rate * rates.decay
    first, n = events.offsets[u], events.offsets[u + 1] - events.offsets[u]
    norm = one / np.sqrt(np.float32(max(n, 1)))
    p, drift = users.taste[u], users.taste_drift[u]
    added[:] = 0
    loss = 0.0
    for event in range(n):
        i = np.uint64(events.items[first + event])
        day, place = np.uint64(events.days[first + event]), np.uint64(events.bins[first + event])
        moved = events.drifts[first + event]
        q, today, step = items.factors[i], days.taste[day], to_q[event]
        dot = np.float32(0)
        for f in range(len(p)):
            step[f] = p[f] + moved * drift[f] + today[f] + z[f]
            dot += q[f] * step[f]
        scale = users.scale[u] + days.scale[day]
        item_bias = items.bias[i] + items.bin_bias[i, place]
        bias = users.bias[u] + moved * users.bias_drift[u] + days.bias[day]
        error = events.values[first + event] - bias - item_bias * scale - dot
        loss += error * error
        push = rate * error
        users.bias[u] = bias_keep * users.bias[u] + push
        users.bias_drift[u] = time_bias_keep * users.bias_drift[u] + push * moved
        days.bias[day] = time_bias_keep * days.bias[day] + push
        # The scale of a user is drawn to 1, that of a day to 0.
        users.scale[u] = one + time_bias_keep * (users.scale[u] - one) + push * item_bias
        days.scale[day] = time_bias_keep * days.scale[day] + push * item_bias
        to_c[event] = push * scale
        drift_push, z_push, common = push * moved, learn_z * push, push * norm
        for f in range(len(p)):
            step[f] *= push
            p[f] = keep * p[f] + push * q[f]
            drift[f] = time_keep * drift[f] + drift_push * q[f]
            today[f] = time_keep * today[f] + push * q[f]
            z[f] = z_keep * z[f] + z_push * q[f]
            added[f] = keep * added[f] + common * q[f]
    return loss


@parallel_njit(fastmath=FAST)
def time_svdpp_epoch(
    order: Any, block_size: Any, longest: Any, events: Any, users: Any, days: Any, items: Any,
    rates: Any,
) -> Any:  # fmt: skip
    """One pass over the ratings of all users (Koren 2009, sections 3 and 4).

        r̂_ui(t) = b_u + α_u dev_u(t) + b_ut + (c_i + c_i,Bin(t)) (s_u + s_ut)
                  + q_i · (p_u + α'_u dev_u(t) + p_ut + |N(u)|^-½ Σ_{j in N(u)} y_j)

    Each parameter takes the step of SGD on the squared error plus its own penalty.

    Args:
        order: int64 [n], the user rows in the order to take them.
        block_size: int, so many users make a block. longest: int, the ratings of the largest block.
        events: what is learned from.
        users, days, items: changed in place.
        rates: step size and penalties.

    Returns:
        The sum of e² as the ratings were met, float64.
    """
    k = users.taste.shape[1]
    losses, starts = np.zeros(block_size), np.zeros(block_size + 1, np.int64)
    to_q, to_c = np.empty((longest, k), np.float32), np.empty(longest, np.float32)
    to_y, shrunk = np.empty((block_size, k), np.float32), np.empty(block_size, np.float32)
    one = np.float32(1)
    keep, bias_keep = one - rates.rate * rates.decay, one - rates.rate * rates.bias_decay
    bin_keep = one - rates.rate * rates.time_bias_decay
    offsets = events.offsets
    for first in range(0, len(order), block_size):
        block = order[first : first + block_size]
        for row in range(len(block)):
            starts[row + 1] = starts[row] + offsets[block[row] + 1] - offsets[block[row]]
        for row in nb.prange(len(block)):
            u = block[row]
            n = offsets[u + 1] - offsets[u]
            z = np.zeros(k, np.float32)
            norm = one / np.sqrt(np.float32(max(n, 1)))
            sum_rows(events.items[offsets[u] : offsets[u + 1]], items.implicit, norm, z)
            mine = slice(starts[row], starts[row + 1])
            losses[row] += _user_pass(
                u, events, users, days, items, rates, z, one, to_q[mine], to_c[mine], to_y[row]
            )
            shrunk[row] = keep ** np.float32(n)
        for part in nb.prange(ITEM_PARTS):
            _move_bins(part, block, starts, events, to_c, items.bin_bias, bin_keep)
            move_items(
                part, block, starts, offsets, events.items, to_q, to_c, to_y, shrunk,
                items.factors, items.bias, items.implicit, keep, bias_keep,
            )  # fmt: skip
    return losses.sum()


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def _move_bins(
    part: Any, block: Any, starts: Any, events: Any, to_c: Any, bin_bias: Any, keep: Any
) -> None:
    """Lays the steps of a block of users onto the binned biases of a part of the items; see
    `move_items`."""
    for row in range(len(block)):
        first = events.offsets[block[row]]
        for event in range(starts[row + 1] - starts[row]):
            i = np.uint64(events.items[first + event])
            if i % np.uint64(ITEM_PARTS) == np.uint64(part):
                place = np.uint64(events.bins[first + event])
                bin_bias[i, place] = keep * bin_bias[i, place] + to_c[starts[row] + event]


@parallel_njit(fastmath=FAST)
def time_svdpp_fold_in(
    events: Any, users: Any, days: Any, items: Any, rates: Any, epochs: Any
) -> None:
    """The user's part of `time_svdpp_epoch` with the items held fixed, `epochs` times; the rate
    falls linearly to 0.

    The result for a user depends on nothing but their own ratings.

    Args:
        events: histories [B]. users, days: where to begin; changed in place.
        items, rates: see `time_svdpp_epoch`.
    """
    k = users.taste.shape[1]
    for u in nb.prange(len(users.bias)):
        n = events.offsets[u + 1] - events.offsets[u]
        z, added = np.zeros(k, np.float32), np.empty(k, np.float32)
        norm = np.float32(1) / np.sqrt(np.float32(max(n, 1)))
        mine = events.items[events.offsets[u] : events.offsets[u + 1]]
        sum_rows(mine, items.implicit, norm, z)
        to_q, to_c = np.empty((n, k), np.float32), np.empty(n, np.float32)
        for epoch in range(epochs):
            slower = np.float32(1 - epoch / epochs)
            now = Rates(
                rates.rate * slower, rates.decay, rates.bias_decay, rates.time_decay,
                rates.time_bias_decay,
            )  # fmt: skip
            _user_pass(u, events, users, days, items, now, z, np.float32(0), to_q, to_c, added)
