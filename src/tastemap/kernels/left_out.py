"""Lists without what may not come out."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.data.masks import read_only

__all__ = ["first_allowed", "without"]


@nb.njit(cache=True, nogil=True)
def _first_places(items: Any, left_out: Any, allowed: Any, places: Any) -> int:
    """Writes the places of the first items (-1 ends them) that are not left out, and, where not all
    are allowed, that are; says how many they are."""
    out, all_allowed, n = np.sort(left_out), len(allowed) == 0, 0
    for place in range(len(items)):
        item = items[place]
        if n == len(places) or item < 0:
            break
        at = np.searchsorted(out, item)
        if (at == len(out) or out[at] != item) and (all_allowed or allowed[item]):
            places[n] = place
            n += 1
    return n


@nb.njit(cache=True, nogil=True)
def _without(
    near: Any, products: Any, offsets: Any, left_out: Any, found: Any, scores: Any
) -> None:
    places, everything = np.empty(found.shape[1], np.int64), np.empty(0, np.bool_)
    for row in range(len(near)):
        out = left_out[offsets[row] : offsets[row + 1]]
        for n in range(_first_places(near[row], out, everything, places)):
            found[row, n], scores[row, n] = near[row, places[n]], products[row, places[n]]


def without(
    near: NDArray[np.int64],
    products: NDArray[np.float32],
    offsets: NDArray[np.int64],
    left_out: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first k of each query's nearest that are not left out.

    Args:
        near, products: [B, n], best first, padded with -1.
        offsets, left_out: int64 [B + 1] and [m], what is left out of each query's.

    Returns:
        int64 and float32 [B, k], padded with -1 and -inf.
    """
    found = np.full((len(near), k), -1, np.int64)
    scores = np.full((len(near), k), -np.inf, np.float32)
    _without(near, products, offsets, left_out, found, scores)
    return found, scores


@nb.njit(cache=True, nogil=True)
def _first_allowed(
    order: Any, rows: Any, offsets: Any, left_out: Any, allowed: Any, found: Any
) -> None:
    places = np.empty(found.shape[1], np.int64)
    for row in rows:
        out = left_out[offsets[row] : offsets[row + 1]]
        for n in range(_first_places(order, out, allowed, places)):
            found[row, n] = order[places[n]]


def first_allowed(
    order: NDArray[np.int32],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    left_out: NDArray[np.int32],
    allowed: NDArray[np.bool_] | None,
    found: NDArray[np.int32],
) -> None:
    """Writes the first items of an order that some queries may be shown into their rows of `found`,
    int32 [B, k]; what stands behind them stays.

    Args:
        order: int32 [n], item rows.
        rows: int64, the queries.
        offsets, left_out: int64 [B + 1] and int32 [m], what is left out of each query's.
        allowed: bool [item rows], what may come out; None for all.
    """
    mask = read_only(np.empty(0, np.bool_) if allowed is None else allowed)
    _first_allowed(order, rows, offsets, left_out, mask, found)
