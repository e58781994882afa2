"""Coordinate descent for SLIM: a non-negative elastic net for each item, from the Gram matrix."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.compiled import parallel_njit

__all__ = ["slim_weights"]

# Items that are solved before their weights are made sparse.
_TILE = 256


def slim_weights(
    gram: NDArray[np.float32],
    l1: float,
    l2: float,
    neighbors: int,
    tolerance: float,
    sweeps: int,
) -> csr_array:
    """For each item j the w >= 0 with w_j = 0 that minimises

        ½ w'Gw - G_j·w + ½ l2 |w|² + l1 sum(w),

    by cyclic coordinate descent with an active set (Friedman, Hastie & Tibshirani 2010).

    Args:
        gram: float32 [n, n], G = X'X of non-negative X.
        l1, l2: the penalties, at least 0; l2 above 0 where columns may be equal.
        neighbors: only so many items, those of the largest cosine, may speak for one
            (fsSLIM, Ning & Karypis 2011, section 4.4).
        tolerance: a sweep that moves no weight further ends the descent.
        sweeps: at most so many over all candidates, and over those above 0 after each of them.

    Returns:
        float32 [n, n], sparse; column j is the w of item j.
    """
    # Rows must lie in one piece; a product of sparse matrices may come in the other order.
    gram = np.ascontiguousarray(gram, np.float32)
    n = len(gram)
    # Apart, since reading it from the matrix would be a cache miss each time.
    diagonal = np.diag(gram).copy()
    parts = []
    for start in range(0, n, _TILE):
        tile = np.zeros((min(_TILE, n - start), n), np.float32)
        _solve_items(
            gram,
            diagonal,
            start,
            np.float32(l1),
            np.float32(l2),
            neighbors,
            np.float32(tolerance),
            sweeps,
            tile,
        )
        parts.append(csr_array(tile))
    rows = parts[0] if len(parts) == 1 else _stacked(parts)
    return csr_array(rows.T)


def _stacked(parts: list[csr_array]) -> csr_array:
    from scipy.sparse import vstack

    return csr_array(vstack(parts))


@nb.njit(fastmath=True, nogil=True, cache=True)
def _improve(
    gram: Any, diagonal: Any, among: Any, l1: Any, l2: Any, w: Any, slope: Any, active: Any
) -> Any:
    """One sweep over the weights `among`: the furthest that one moved, and how many are above 0,
    which stand at the beginning of `active` then. `slope` is G_j - G w."""
    furthest, n_active = np.float32(0), 0
    for place in range(len(among)):
        k = among[place]
        own = diagonal[k]
        better = max(np.float32(0), (slope[k] + own * w[k] - l1) / (own + l2))
        change = better - w[k]
        if change != 0:
            w[k] = better
            row = gram[k]
            for i in range(len(row)):
                slope[i] -= change * row[i]
            furthest = max(furthest, abs(change))
        if better > 0:
            active[n_active] = k
            n_active += 1
    return furthest, n_active


@nb.njit(nogil=True, cache=True)
def _candidates(gram: Any, diagonal: Any, j: Any, l1: Any, neighbors: Any) -> Any:
    """The items that may have a weight in item j's, the most similar first.

    G and w are not negative, so a weight whose slope at 0, G_kj, is not above l1 stays 0.
    """
    chosen = np.empty(len(gram), np.int32)
    n = 0
    for k in range(len(gram)):
        if k != j and gram[j, k] > l1:
            chosen[n] = k
            n += 1
    chosen = chosen[:n]
    cosine = np.empty(n, np.float32)
    for place in range(n):
        cosine[place] = gram[j, chosen[place]] / np.sqrt(diagonal[chosen[place]])
    # The most similar first: what they explain, the others need not.
    return chosen[np.argsort(-cosine, kind="mergesort")[:neighbors]]


@nb.njit(fastmath=True, nogil=True, cache=True)
def _rest(
    gram: Any, active: Any, l1: Any, l2: Any, w: Any, slope: Any, tolerance: Any, sweeps: Any
) -> None:
    """Brings the weights of the items `active` to rest, among themselves."""
    n = len(active)
    small = np.empty((n, n), np.float32)
    own_w, own_slope = np.empty(n, np.float32), np.empty(n, np.float32)
    for place in range(n):
        row, target = gram[active[place]], small[place]
        for other in range(n):
            target[other] = row[active[other]]
        own_w[place], own_slope[place] = w[active[place]], slope[active[place]]
    for _ in range(sweeps):
        furthest = np.float32(0)
        for place in range(n):
            row = small[place]
            own = row[place]
            better = max(np.float32(0), (own_slope[place] + own * own_w[place] - l1) / (own + l2))
            change = better - own_w[place]
            if change != 0:
                own_w[place] = better
                for other in range(n):
                    own_slope[other] -= change * row[other]
                furthest = max(furthest, abs(change))
        if furthest <= tolerance:
            break
    for place in range(n):
        change = own_w[place] - w[active[place]]
        if change != 0:
            w[active[place]] = own_w[place]
            row = gram[active[place]]
            for i in range(len(row)):
                slope[i] -= change * row[i]


@parallel_njit()
def _solve_items(
    gram: Any,
    diagonal: Any,
    start: Any,
    l1: Any,
    l2: Any,
    neighbors: Any,
    tolerance: Any,
    sweeps: Any,
    out: Any,
) -> None:
    n = len(gram)
    for place in nb.prange(len(out)):
        j, w = start + place, out[place]
        candidates = _candidates(gram, diagonal, j, l1, neighbors)
        slope = gram[j].copy()
        active = np.empty(n, np.int32)
        for _ in range(sweeps):
            moved, n_active = _improve(gram, diagonal, candidates, l1, l2, w, slope, active)
            if moved <= tolerance:
                break
            # Most weights are 0 and stay so: those above 0 are brought to rest in between.
            _rest(gram, active[:n_active], l1, l2, w, slope, tolerance, sweeps)
