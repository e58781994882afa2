"""SGD epochs of SVD++ (Koren 2008) on the CPU, in place on float32 tables.

Koren's steps for one rating change p_u, q_i and all y_j of the user's n items: n² steps a user. But
a step changes every y_j of the user alike, by a shrinking and a common addition, so that it is
enough to note both, and to move their sum z: with n steps behind us, y_j = shrunk · y_j + added.
This gives what Koren's steps give, at a cost that grows with n.

Users are taken in blocks. Those of a block go on at once, each from the items as they were before
the block; then what they found is laid onto the items, in order of users. So the result does not
depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST

__all__ = ["ITEM_PARTS", "block_size_of", "implicit_sums", "move_items", "sum_rows", "svdpp_epoch"]

# Users of a block do not see each other's steps, which overshoot where a block is a large part of
# all users, or very large.
_LARGEST_BLOCK, _BLOCKS = 32, 64
# At most so many threads lay the steps of a block onto the items.
ITEM_PARTS = 16


def block_size_of(n_users: int) -> int:
    """How many users make a block."""
    return max(1, min(_LARGEST_BLOCK, n_users // _BLOCKS))


@parallel_njit(fastmath=FAST)
def svdpp_epoch(
    order: Any, block_size: Any, longest: Any, offsets: Any, items: Any, values: Any,
    P: Any, Q: Any, Y: Any, b: Any, c: Any, rate: Any, decay: Any, bias_decay: Any,
) -> Any:  # fmt: skip
    """One pass over the ratings of all users (Koren 2008, section 4, with its equation 15).

        z_u = |N(u)|^-½ Σ_{j in N(u)} y_j,   r̂_ui = b_u + c_i + q_i · (p_u + z_u),   e = r_ui - r̂_ui
        p_u += rate (e q_i - decay p_u)      q_i += rate (e (p_u + z_u) - decay q_i)
        b_u += rate (e - bias_decay b_u)     c_i += rate (e - bias_decay c_i)
        y_j += rate (e |N(u)|^-½ q_i - decay y_j)   for all j in N(u)

    Args:
        order: int64 [n], the user rows in the order to take them.
        block_size: int, so many users make a block. longest: int, the ratings of the largest block.
        offsets, items, values: int64 [user rows + 1], int32 [m], float32 [m], the ratings by user,
            without the unknown item and less the mean of all; N(u) is all a user has rated.
        P: float32 [user rows, k]. Q, Y: float32 [item rows, k]. b, c: float32 [user rows] and
            [item rows]. All are changed in place.
        rate, decay, bias_decay: float32.

    Returns:
        The sum of e² as the ratings were met, float64.
    """
    k = P.shape[1]
    losses = np.zeros(block_size)
    starts = np.zeros(block_size + 1, np.int64)
    to_q, to_c = np.empty((longest, k), np.float32), np.empty(longest, np.float32)
    to_y, shrunk = np.empty((block_size, k), np.float32), np.empty(block_size, np.float32)
    keep, bias_keep = np.float32(1) - rate * decay, np.float32(1) - rate * bias_decay
    for first in range(0, len(order), block_size):
        block = order[first : first + block_size]
        for row in range(len(block)):
            starts[row + 1] = starts[row] + offsets[block[row] + 1] - offsets[block[row]]
        for row in nb.prange(len(block)):
            u = block[row]
            n = offsets[u + 1] - offsets[u]
            norm = np.float32(1) / np.sqrt(np.float32(max(n, 1)))
            p, z, added = P[u], np.zeros(k, np.float32), to_y[row]
            sum_rows(items[offsets[u] : offsets[u + 1]], Y, norm, z)
            added[:] = 0
            loss = 0.0
            for event in range(n):
                i = np.uint64(items[offsets[u] + event])
                q, step = Q[i], to_q[starts[row] + event]
                dot = np.float32(0)
                for f in range(k):
                    dot += q[f] * (p[f] + z[f])
                error = values[offsets[u] + event] - b[u] - c[i] - dot
                loss += error * error
                push = rate * error
                b[u] = bias_keep * b[u] + push
                to_c[starts[row] + event] = push
                common = push * norm
                for f in range(k):
                    step[f] = push * (p[f] + z[f])
                    p[f] = keep * p[f] + push * q[f]
                    z[f] = keep * z[f] + push * q[f]
                    added[f] = keep * added[f] + common * q[f]
            shrunk[row] = keep ** np.float32(n)
            losses[row] += loss
        for part in nb.prange(ITEM_PARTS):
            move_items(
                part, block, starts, offsets, items, to_q, to_c, to_y, shrunk, Q, c, Y,
                keep, bias_keep,
            )  # fmt: skip
    return losses.sum()


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def move_items(
    part: Any, block: Any, starts: Any, offsets: Any, items: Any,
    to_q: Any, to_c: Any, to_y: Any, shrunk: Any, Q: Any, c: Any, Y: Any,
    keep: Any, bias_keep: Any,
) -> None:  # fmt: skip
    """Lays the steps of a block of users onto one of `ITEM_PARTS` parts of the items.

    Args:
        part: which items: those whose row leaves it as the remainder.
        block: int64 [B], user rows. starts: int64 [B + 1], where the steps of each begin.
        offsets, items: the ratings by user.
        to_q, to_c: float32 [steps, k] and [steps], what each rating adds to q_i and c_i.
        to_y, shrunk: float32 [B, k] and [B], what each user adds to y_j after shrinking it.
        Q, c, Y: changed in place.
        keep, bias_keep: float32, by how much a step shrinks q_i and c_i.
    """
    k = Q.shape[1]
    for row in range(len(block)):
        first, added, shrink = offsets[block[row]], to_y[row], shrunk[row]
        for event in range(starts[row + 1] - starts[row]):
            i = np.uint64(items[first + event])
            if i % np.uint64(ITEM_PARTS) != np.uint64(part):
                continue
            q, y, step = Q[i], Y[i], to_q[starts[row] + event]
            c[i] = bias_keep * c[i] + to_c[starts[row] + event]
            for f in range(k):
                q[f] = keep * q[f] + step[f]
                y[f] = shrink * y[f] + added[f]


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def sum_rows(rows: Any, vectors: Any, scale: Any, out: Any) -> None:
    """Adds some rows of vectors [n, k], times a scale, to out [k]."""
    for row in rows:
        vector = vectors[np.uint64(row)]
        for f in range(len(out)):
            out[f] += scale * vector[f]


@parallel_njit(fastmath=FAST)
def implicit_sums(offsets: Any, items: Any, Y: Any) -> Any:
    """z_u = |N(u)|^-½ Σ_{j in N(u)} y_j of histories, float32 [B, k]; 0 for an empty one.

    Args:
        offsets, items: int64 [B + 1] and int32 [m], the histories, without the unknown item.
        Y: float32 [item rows, k].
    """
    n = len(offsets) - 1
    sums = np.zeros((n, Y.shape[1]), np.float32)
    for row in nb.prange(n):
        count = offsets[row + 1] - offsets[row]
        norm = np.float32(1) / np.sqrt(np.float32(max(count, 1)))
        sum_rows(items[offsets[row] : offsets[row + 1]], Y, norm, sums[row])
    return sums
