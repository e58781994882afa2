"""Skip-gram with negative sampling on the CPU: pairs of neighbours, and SGD on them.

The pairs are grouped into blocks that share neither inputs nor outputs (see `blocks.py`), so that
threads train on several at once, and the result is the same whatever their number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.kernels.blocks import STRATA
from tastemap.kernels.mf import FAST, random_bits

__all__ = [
    "ItemStrata",
    "Pairs",
    "alias_tables",
    "cut_items",
    "draw_by_chance",
    "pairs_in_blocks",
    "sgns_epoch",
    "sigmoid",
]

# Pairs of a step, a multiple of 4. More of them no longer stay in the cache nearest to the core.
_TOGETHER = 8


class ItemStrata(NamedTuple):
    """Items cut into T strata of about equal weight.

    Attributes:
        stratum: uint8 [item rows], of each item.
        pool: int32 [item rows - 1], the item rows from 1, grouped by stratum.
        offsets: int64 [T+1]; stratum t holds pool[offsets[t]:offsets[t+1]].
    """

    stratum: NDArray[np.uint8]
    pool: NDArray[np.int32]
    offsets: NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of neighbours in the order of their blocks.

    Attributes:
        inputs, outputs: int32 [m], item rows.
        offsets: int64 [T*T+1]; block (s, t), of inputs in stratum s and outputs in stratum t, holds
            pairs offsets[s*T+t]:offsets[s*T+t+1].
    """

    inputs: NDArray[np.int32]
    outputs: NDArray[np.int32]
    offsets: NDArray[np.int64]


def cut_items(
    weights: NDArray[np.float64], rng: np.random.Generator, strata: int = STRATA
) -> ItemStrata:
    """Cuts items at random into strata of about equal weight.

    Args:
        weights: float64 [item rows], from 0; row 0 is left out.
    """
    pool = (rng.permutation(len(weights) - 1) + 1).astype(np.int32)
    before = np.cumsum(weights[pool])
    edges = np.arange(1, strata) * (before[-1] / strata)
    inner = np.searchsorted(before, edges, side="right")
    offsets = np.concatenate([[0], inner, [len(pool)]]).astype(np.int64)
    stratum = np.zeros(len(weights), np.uint8)
    stratum[pool] = np.repeat(np.arange(strata, dtype=np.uint8), np.diff(offsets))
    return ItemStrata(stratum, pool, offsets)


@nb.njit(cache=True, nogil=True)
def alias_tables(weights: Any, pool: Any, offsets: Any) -> Any:
    """Tables to draw an item of a stratum by its weight in one step (Walker 1977, made as in Vose
    1991).

    Args:
        weights: float64 [item rows], from 0. A stratum without weight is drawn from uniformly.
        pool, offsets: see `ItemStrata`.

    Returns:
        chance float32 and other int32 [item rows - 1]: of the places of a stratum, drawn uniformly,
        place n stands for pool[n] with chance[n], and else for the item row other[n].
    """
    chance, other = np.ones(len(pool), np.float32), pool.copy()
    for t in range(len(offsets) - 1):
        start, stop = offsets[t], offsets[t + 1]
        share = weights[pool[start:stop]]
        total = share.sum()
        if total <= 0:
            continue
        share *= len(share) / total
        poor, rich = [n for n in range(len(share)) if share[n] < 1], 0
        while len(poor) > 0:
            while rich < len(share) and share[rich] < 1:
                rich += 1
            # What is left by rounding keeps its chance of 1.
            if rich == len(share):
                break
            n = poor.pop()
            chance[start + n], other[start + n] = share[n], pool[start + rich]
            share[rich] -= 1 - share[n]
            if share[rich] < 1:
                poor.append(rich)
    return chance, other


@nb.njit(cache=True, nogil=True, inline="always")
def draw_by_chance(
    seed: Any, number: Any, start: Any, stop: Any, pool: Any, chance: Any, other: Any
) -> Any:
    """The item that draw `number` gives of the stratum pool[start:stop], by `alias_tables`."""
    bits = random_bits(seed, number, 0)
    upper, lower = bits >> np.uint64(32), bits & np.uint64(0xFFFFFF)
    place = np.uint64(start) + ((upper * np.uint64(stop - start)) >> np.uint64(32))
    # Both are read, so that there is no branch to be guessed wrong.
    here, elsewhere = pool[place], other[place]
    return here if np.float32(lower) * np.float32(2**-24) < chance[place] else elsewhere


@nb.njit(cache=True, nogil=True)
def _uniform(bits: Any) -> Any:
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


@nb.njit(cache=True, nogil=True)
def _below(bits: Any, n: Any) -> Any:
    return np.int64(((bits >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))


@nb.njit(cache=True, nogil=True)
def _thinned(items: Any, start: Any, stop: Any, keep: Any, shuffled: Any, seed: Any) -> Any:
    """What is left of a sequence, in its own order or at random, and the window of each."""
    left = np.empty(stop - start, np.int32)
    places = np.empty(stop - start, np.int64)
    n = 0
    for event in range(start, stop):
        item = items[event]
        if keep[item] >= 1 or _uniform(random_bits(seed, event, 0)) < keep[item]:
            left[n], places[n] = item, event
            n += 1
    if shuffled:
        for i in range(n - 1, 0, -1):
            j = _below(random_bits(seed, places[i], 1), i + 1)
            left[i], left[j] = left[j], left[i]
    return left[:n], places[:n]


@parallel_njit()
def pairs_in_blocks(
    sequences: Any, offsets: Any, items: Any, keep: Any, window: Any, shuffled: Any,
    in_stratum: Any, out_stratum: Any, T: Any, seed: Any,
) -> Any:  # fmt: skip
    """The pairs of neighbours of some sequences, as the skip-gram model of Mikolov et al. 2013
    makes them: each event is the output, and the events up to b before and after it are its inputs,
    with b drawn anew for every event from 1 to `window`.

    Args:
        sequences: int64 [n], which sequences.
        offsets, items: int64 [sequences + 1] and int32 [m], all sequences.
        keep: float64 [item rows], the probability that an event of the item is kept; what is left
            out is no neighbour, and lets others become neighbours.
        window: int, from 1.
        shuffled: bool, whether a sequence is a set, brought into an order at random.
        in_stratum, out_stratum: uint8 [item rows], below T, of inputs and of outputs.
        seed: uint64; the same pairs come for the same one.

    Returns:
        The fields of `Pairs`.
    """
    n = len(sequences)
    parts = min(n, 4 * T)
    cursors = np.zeros((parts, T * T), np.int64)
    nothing = np.empty(0, np.int32)
    for part in nb.prange(parts):
        _walk(
            sequences[part * n // parts : (part + 1) * n // parts], offsets, items, keep, window,
            shuffled, in_stratum, out_stratum, T, seed, cursors[part], nothing, nothing,
        )  # fmt: skip
    block_offsets = np.zeros(T * T + 1, np.int64)
    total = 0
    for block in range(T * T):
        for part in range(parts):
            size = cursors[part, block]
            cursors[part, block] = total
            total += size
        block_offsets[block + 1] = total
    inputs, outputs = np.empty(total, np.int32), np.empty(total, np.int32)
    for part in nb.prange(parts):
        _walk(
            sequences[part * n // parts : (part + 1) * n // parts], offsets, items, keep, window,
            shuffled, in_stratum, out_stratum, T, seed, cursors[part], inputs, outputs,
        )  # fmt: skip
    return inputs, outputs, block_offsets


@nb.njit(cache=True, nogil=True)
def _walk(
    sequences: Any, offsets: Any, items: Any, keep: Any, window: Any, shuffled: Any,
    in_stratum: Any, out_stratum: Any, T: Any, seed: Any, cursor: Any, inputs: Any, outputs: Any,
) -> None:  # fmt: skip
    """Moves the cursor of each block by its pairs, and writes them where there is room for any."""
    for sequence in sequences:
        left, places = _thinned(
            items, offsets[sequence], offsets[sequence + 1], keep, shuffled, seed
        )
        for centre in range(len(left)):
            b = 1 + _below(random_bits(seed, places[centre], 2), window)
            column = np.int64(out_stratum[left[centre]])
            for place in range(max(centre - b, 0), min(centre + b + 1, len(left))):
                if place == centre:
                    continue
                block = np.int64(in_stratum[left[place]]) * T + column
                at = cursor[block]
                cursor[block] = at + 1
                if len(inputs) > 0:
                    inputs[at], outputs[at] = left[place], left[centre]


@nb.njit(cache=True, nogil=True, inline="always")
def sigmoid(x: Any) -> Any:
    """σ(x) within 2e-7, from 1e-7 to 1: a third of the time of `exp`.

    By σ(x) = (1 + tanh(x/2)) / 2 and the rational tanh of Eigen (`ptanh_float`).
    """
    h = np.float32(0.5) * x
    # By hand, since `min` and `max` would hide what is not a number.
    if h > np.float32(7.9):
        h = np.float32(7.9)
    if h < np.float32(-7.9):
        h = np.float32(-7.9)
    q = h * h
    p = q * np.float32(-2.76076847742355e-16) + np.float32(2.00018790482477e-13)
    p = q * p + np.float32(-8.60467152213735e-11)
    p = q * p + np.float32(5.12229709037114e-08)
    p = q * p + np.float32(1.48572235717979e-05)
    p = q * p + np.float32(6.37261928875436e-04)
    p = q * p + np.float32(4.89352455891786e-03)
    d = q * np.float32(1.19825839466702e-06) + np.float32(1.18534705686654e-04)
    d = q * d + np.float32(2.26843463243900e-03)
    d = q * d + np.float32(4.89352518554385e-03)
    y = np.float32(0.5) + np.float32(0.5) * h * p / d
    return np.float32(1e-7) if y < np.float32(1e-7) else y


@parallel_njit(fastmath=FAST)
def sgns_epoch(
    inputs: Any, outputs: Any, offsets: Any, pool: Any, pool_offsets: Any, chance: Any, other: Any,
    order: Any, U: Any, V: Any, rate: Any, negatives: Any, seed: Any,
) -> Any:  # fmt: skip
    """One pass of SGD over pairs (i, o) on the loss of skip-gram with negative sampling (Mikolov et
    al. 2013, equation 4).

        -ln σ(u_i · v_o) - sum_j ln σ(-u_i · v_j)

    The negatives j are drawn with `alias_tables` from the stratum of o, so that blocks stay apart;
    where one is o itself, it is left out, as word2vec does. Where strata are drawn anew again and
    again, each item is the negative of every other in the end. Eight pairs of a block take their
    steps together and share their negatives (Ji et al. 2016, Parallelizing Word2Vec in Shared and
    Distributed Memory): each vector that is read then serves several products.

    Args:
        inputs, outputs, offsets: see `Pairs`.
        pool, pool_offsets: see `ItemStrata`, of the outputs.
        chance, other: see `alias_tables`.
        order: int64 [T], a permutation: which diagonal of blocks comes when.
        U, V: float32 [item rows, k], the vectors of inputs and of outputs, changed in place.
        rate: float32. negatives: int, from 1, for each pair. seed: uint64, of the draws.

    Returns:
        The sum of the losses as the pairs were met, float64.
    """
    T = len(order)
    losses = np.zeros(T)
    for step in range(T):
        for s in nb.prange(T):
            t = (s + order[step]) % T
            losses[s] += _sgns_block(
                inputs, outputs, offsets[s * T + t], offsets[s * T + t + 1],
                pool, pool_offsets[t], pool_offsets[t + 1], chance, other,
                U, V, rate, negatives, seed,
            )  # fmt: skip
    return losses.sum()


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def _sgns_block(
    inputs: Any, outputs: Any, first: Any, last: Any, pool: Any, start: Any, stop: Any, chance: Any,
    other: Any, U: Any, V: Any, rate: Any, negatives: Any, seed: Any,
) -> Any:  # fmt: skip
    """The steps of pairs first:last, whose outputs are of the stratum pool[start:stop]."""
    k = U.shape[1]
    # Unsigned indices spare a test for negative ones.
    i, o = np.empty(_TOGETHER, np.uint64), np.empty(_TOGETHER, np.uint64)
    # One more place, so that negatives can be read two at a time.
    drawn = np.empty(negatives + 1, np.uint64)
    # A row for each negative, and the last for the outputs: products, then what multiplies vectors.
    x, right = np.empty((negatives + 1, _TOGETHER), np.float32), np.empty(_TOGETHER, np.float32)
    u = np.empty((_TOGETHER, k), np.float32)
    likelihood, loss = 1.0, 0.0
    for pair in range(first, last, _TOGETHER):
        n_pairs = min(_TOGETHER, last - pair)
        for q in range(_TOGETHER):
            # Copies of the last one fill the group up, with steps of length 0.
            at = pair + min(q, n_pairs - 1)
            i[q], o[q] = inputs[at], outputs[at]
        for n in range(negatives):
            draw = pair * negatives + n
            drawn[n] = draw_by_chance(seed, draw, start, stop, pool, chance, other)
        drawn[negatives] = drawn[0]

        for q in range(_TOGETHER):
            p, a, b = np.uint64(q), i[q], o[q]
            product = np.float32(0)
            for f in range(k):
                w = U[a, f]
                u[p, f] = w
                product += w * V[b, f]
            x[negatives, p] = -product
        for n in range(0, negatives, 2):
            j, h = drawn[n], drawn[n + 1]
            for q in range(0, _TOGETHER, 4):
                p0, p1, p2, p3 = np.uint64(q), np.uint64(q + 1), np.uint64(q + 2), np.uint64(q + 3)
                x0, x1, x2, x3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                y0, y1, y2, y3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for f in range(k):
                    v, w = V[j, f], V[h, f]
                    x0 += u[p0, f] * v
                    x1 += u[p1, f] * v
                    x2 += u[p2, f] * v
                    x3 += u[p3, f] * v
                    y0 += u[p0, f] * w
                    y1 += u[p1, f] * w
                    y2 += u[p2, f] * w
                    y3 += u[p3, f] * w
                x[n, p0], x[n, p1], x[n, p2], x[n, p3] = x0, x1, x2, x3
                if n + 1 < negatives:
                    x[n + 1, p0], x[n + 1, p1], x[n + 1, p2], x[n + 1, p3] = y0, y1, y2, y3

        for n in range(negatives + 1):
            for q in range(_TOGETHER):
                right[q] = sigmoid(-x[n, q])
            for q in range(_TOGETHER):
                if q >= n_pairs or (n < negatives and drawn[n] == o[q]):
                    right[q] = np.float32(1)
            for q in range(_TOGETHER):
                # At least 1e-56 by each row, so that nothing is lost before it is looked at.
                likelihood *= right[q]
                x[n, q] = rate * (right[q] - np.float32(1))
            if likelihood < 1e-200:
                loss -= np.log(likelihood)
                likelihood = 1.0
        for q in range(_TOGETHER):
            x[negatives, q] = -x[negatives, q]

        for q in range(_TOGETHER):
            p, a, b = np.uint64(q), i[q], o[q]
            # Three vectors at a time; past the last one, that of the output with weight 0.
            for n in range(0, negatives + 1, 3):
                j0 = drawn[n] if n < negatives else b
                j1 = drawn[n + 1] if n + 1 < negatives else b
                j2 = drawn[n + 2] if n + 2 < negatives else b
                g0 = x[n, p]
                g1 = x[n + 1, p] if n + 1 <= negatives else np.float32(0)
                g2 = x[n + 2, p] if n + 2 <= negatives else np.float32(0)
                for f in range(k):
                    U[a, f] += g0 * V[j0, f] + g1 * V[j1, f] + g2 * V[j2, f]
        for n in range(negatives):
            j = drawn[n]
            for q in range(0, _TOGETHER, 4):
                p0, p1, p2, p3 = np.uint64(q), np.uint64(q + 1), np.uint64(q + 2), np.uint64(q + 3)
                g0, g1, g2, g3 = x[n, p0], x[n, p1], x[n, p2], x[n, p3]
                for f in range(k):
                    V[j, f] += g0 * u[p0, f] + g1 * u[p1, f] + g2 * u[p2, f] + g3 * u[p3, f]
        for q in range(_TOGETHER):
            p, b, g = np.uint64(q), o[q], x[negatives, q]
            for f in range(k):
                V[b, f] += g * u[p, f]
    return loss - np.log(likelihood)
