"""Exact top-k of score rows, without a sort of the whole row."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.data.histories import Histories
from tastemap.data.masks import read_only

__all__ = ["best_first", "sift_down", "top_k", "worse"]


def top_k(
    scores: NDArray[np.float32],
    k: int,
    *,
    excluded: Histories | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k best item rows of each row of scores, best first; of equal scores the lower row first.

    Args:
        scores: float32 [B, n]; column 0, the unknown item, and NaN or -inf never come out.
        k: how many.
        excluded: histories [B] whose items are left out, or None.
        allowed: bool [n], the items that may come out, or None for all.

    Returns:
        items int32 [B, k] and scores float32 [B, k], padded with 0 and -inf where fewer are left.
    """
    scores = np.ascontiguousarray(scores, np.float32)
    if excluded is None:
        offsets, items = np.zeros(len(scores) + 1, np.int64), np.empty(0, np.int32)
    else:
        offsets, items = excluded.offsets, excluded.items
    if allowed is None:
        allowed = np.ones(scores.shape[1], np.bool_)
    return _top_k(scores, k, offsets, items, read_only(allowed))  # type: ignore[no-any-return]


@nb.njit(cache=True, nogil=True, inline="always")
def worse(score_a: Any, item_a: Any, score_b: Any, item_b: Any) -> Any:
    """Whether an item comes behind another one: by its score, and of equal ones by its row."""
    return score_a < score_b or (score_a == score_b and item_a > item_b)


@nb.njit(cache=True, nogil=True)
def sift_down(best: Any, items: Any, at: Any, size: Any) -> None:
    """Moves what is at a place of a heap of so many down to where it belongs, the worst at the
    root (Knuth, The Art of Computer Programming, volume 3, section 5.2.3)."""
    score, item = best[at], items[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and worse(best[child + 1], items[child + 1], best[child], items[child]):
            child += 1
        if not worse(best[child], items[child], score, item):
            break
        best[at], items[at] = best[child], items[child]
        at = child
    best[at], items[at] = score, item


@nb.njit(cache=True, nogil=True)
def best_first(best: Any, items: Any) -> None:
    """Puts a heap with the worst at its root in order, the best first."""
    for size in range(len(best) - 1, 0, -1):
        best[0], best[size] = best[size], best[0]
        items[0], items[size] = items[size], items[0]
        sift_down(best, items, 0, size)


@parallel_njit()
def _top_k(scores: Any, k: Any, offsets: Any, excluded: Any, allowed: Any) -> Any:
    n_rows, n_items = scores.shape
    top_items = np.zeros((n_rows, k), np.int32)
    top_scores = np.full((n_rows, k), -np.inf, np.float32)
    for row in nb.prange(n_rows):
        left_out = np.zeros(n_items, np.bool_)
        for e in range(offsets[row], offsets[row + 1]):
            if 0 <= excluded[e] < n_items:
                left_out[excluded[e]] = True
        # A heap with the worst of the k best so far at its root: nearly every item costs one
        # comparison. Empty places hold -inf, so nothing that is not better than -inf gets in.
        best, items = top_scores[row], top_items[row]
        for item in range(1, n_items):
            score = scores[row, item]
            if score > best[0] and not left_out[item] and allowed[item]:
                best[0], items[0] = score, item
                sift_down(best, items, 0, k)
        best_first(best, items)
    return top_items, top_scores
