"""Cross layers of DCN-v2 over what was looked up for them."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["crossed", "finished"]

_FAST = {"reassoc", "contract", "nsz"}


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _crossed(
    first: Any, maps: Any, shared: Any, items: Any, places: Any, products: int, hidden: int
) -> None:
    for place in range(len(first)):
        begin, row, item = first[place], maps[place], items[places[place]]
        for column in range(len(row)):
            row[column] += shared[column] + item[column]
        for column in range(products):
            row[column] = begin[column] * row[column] + begin[column]
        for column in range(products, products + hidden):
            row[column] = max(row[column], np.float32(0))


def crossed(
    first: NDArray[np.float32],
    maps: NDArray[np.float32],
    shared: NDArray[np.float32],
    items: NDArray[np.float32],
    places: NDArray[np.int64],
    products: int,
    hidden: int,
) -> None:
    """Makes of [y, h, …] in place what comes after them: x_0 ∘ y + x_0, relu(h), ….

    Args:
        first: float32 [n, width], x_0.
        maps: float32 [n, columns].
        shared: float32 [columns], is added to all maps before.
        items: float32 [m, columns], of which the one at the `places`, int64 [n], of a row is added
            to its maps before.
        products: columns of y, the width or 0.
        hidden: columns of h.
    """
    _crossed(first, maps, shared, items, places, products, hidden)


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _finished(first: Any, x: Any, maps: Any, of_first: Any, scores: Any) -> None:
    width = first.shape[1]
    for place in range(len(first)):
        begin, here, weights = first[place], x[place], maps[place, maps.shape[1] - width :]
        score = np.float32(0)
        for column in range(width):
            score += weights[column] * here[column] + of_first[column] * begin[column]
        scores[place] += score


def finished(
    first: NDArray[np.float32],
    x: NDArray[np.float32],
    maps: NDArray[np.float32],
    of_first: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> None:
    """Adds weights · x + of_first · x_0 of each row to its score.

    Args:
        first: float32 [n, width], x_0.
        x: float32 [n, width or more], in the first columns.
        maps: float32 [n, width or more], whose last columns are the weights.
        of_first: float32 [width].
        scores: float32 [n].
    """
    _finished(first, x, maps, of_first, scores)
