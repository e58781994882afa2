"""Cross layers of DCN-v2 over their linear maps, a candidate at a time, so that all of it stays in
cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.kernels.quantization import Product

__all__ = ["Crossed", "Maps", "Vectors", "crossed", "crossed_again", "scored"]

_FAST = {"reassoc", "contract", "nsz"}


class Vectors(NamedTuple):
    """x_0 = [u; i; c] of n candidates of one request.

    Attributes:
        request: float32 [u], of all.
        items: float32 [items, i].
        places: int64 [n], which of the items each candidate is.
        pairs: float32 [n, c].
    """

    request: NDArray[np.float32]
    items: NDArray[np.float32]
    places: NDArray[np.int64]
    pairs: NDArray[np.float32]


class Maps(NamedTuple):
    """[y; h; m], linear maps of x_0, as the sum of those of u, i, and c.

    Attributes:
        request: float32 [columns].
        items: int16 or float32 [items, columns], to be multiplied by `by_item`.
        by_item: float32 [items, 1].
        pairs: [n, columns].
    """

    request: NDArray[np.float32]
    items: NDArray[np.int16] | NDArray[np.float32]
    by_item: NDArray[np.float32]
    pairs: Product


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _row(vectors: Any) -> Any:
    """x_0 [width], in which u stands already, and its parts i and c."""
    request, items, _, pairs = vectors
    begin, middle = len(request), len(request) + items.shape[1]
    row = np.empty(middle + pairs.shape[1], np.float32)
    row[:begin] = request
    return row, row[begin:middle], row[middle:]


# What is called for each candidate takes arrays, and views that were made once for all: parts of a
# tuple and slices would be counted as owned each time, and an index that may be negative keeps a
# loop from being vectorized. Either costs more than the work.
@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _candidate(
    items: Any, of_items: Any, by_item: Any, item: int,
    pairs: Any, of_pairs: Any, by_pair: Any, pair_scale: Any, place: int,
    bias: Any, of_item: Any, of_pair: Any, columns: Any,
) -> None:  # fmt: skip
    """Writes i and c of a candidate's x_0, and its maps, float32 [columns]."""
    for column in range(len(of_item)):
        of_item[column] = items[item, column]
    for column in range(len(of_pair)):
        of_pair[column] = pairs[place, column]
    item_share, pair_share = by_item[item, 0], by_pair[place]
    for column in range(len(columns)):
        columns[column] = (
            bias[column]
            + np.float32(of_items[item, column]) * item_share
            + np.float32(of_pairs[place, column]) * pair_share * pair_scale[column]
        )


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _scored(vectors: Any, maps: Any, crosses: int, of_first: Any, hidden: Any, scores: Any) -> None:
    _, items, places, pairs = vectors
    x_0, of_item, of_pair = _row(vectors)
    bias, of_items, by_item, (of_pairs, by_pair, pair_scale) = maps
    columns, one, n_hidden = np.empty(len(bias), np.float32), np.float32(1), hidden.shape[1]
    y, h = columns[:crosses], columns[crosses : crosses + n_hidden]
    m = columns[crosses + n_hidden :]
    for place in range(len(scores)):
        _candidate(
            items, of_items, by_item, places[place],
            pairs, of_pairs, by_pair, pair_scale, place, bias, of_item, of_pair, columns,
        )  # fmt: skip
        for column in range(n_hidden):
            hidden[place, column] = max(h[column], np.float32(0))
        score = np.float32(0)
        if crosses:
            for column in range(len(x_0)):
                score += (m[column] * (y[column] + one) + of_first[column]) * x_0[column]
        else:
            for column in range(len(x_0)):
                score += (m[column] + of_first[column]) * x_0[column]
        scores[place] = score


def scored(
    vectors: Vectors, maps: Maps, crosses: int, of_first: NDArray[np.float32], n_hidden: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where no cross layer stands between the first and the last one.

    Args:
        vectors, maps: of n candidates.
        crosses: columns of y, the width of x_0, or 0 where the last cross layer is the first.
        of_first: float32 [width], the weights of x_0 itself.
        n_hidden: columns of h.

    Returns:
        m · x + of_first · x_0, float32 [n], with x = x_0 ∘ y + x_0, or x_0, and relu(h), float32
        [n, hidden].
    """
    n = len(vectors.places)
    hidden, scores = np.empty((n, n_hidden), np.float32), np.empty(n, np.float32)
    _scored(vectors, maps, crosses, of_first, hidden, scores)
    return scores, hidden


class Crossed(NamedTuple):
    """Candidates between two cross layers. The score has m · x_l of what the layers make, and since
    each layer between adds x_0 ∘ z to x_l, with a linear map z of x_l, it adds (m ∘ x_0) · z to the
    score.

    Attributes:
        first: float32 [n, width], x_0; without rows where only one layer is between.
        x: float32 [n, width], x_l.
        weights: float32 [n, width], m ∘ x_0.
        scores: float32 [n], m · x_l + of_first · x_0.
    """

    first: NDArray[np.float32]
    x: NDArray[np.float32]
    weights: NDArray[np.float32]
    scores: NDArray[np.float32]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _crossed(vectors: Any, maps: Any, of_first: Any, candidates: Any, hidden: Any) -> None:
    _, items, places, pairs = vectors
    x_0, of_item, of_pair = _row(vectors)
    bias, of_items, by_item, (of_pairs, by_pair, pair_scale) = maps
    first, x, weights, scores = candidates
    columns, one, n_hidden = np.empty(len(bias), np.float32), np.float32(1), hidden.shape[1]
    width, again = len(x_0), len(first) > 0
    y, h, m = columns[:width], columns[width : width + n_hidden], columns[width + n_hidden :]
    for place in range(len(x)):
        _candidate(
            items, of_items, by_item, places[place],
            pairs, of_pairs, by_pair, pair_scale, place, bias, of_item, of_pair, columns,
        )  # fmt: skip
        score = np.float32(0)
        for column in range(width):
            crossed = x_0[column] * (y[column] + one)
            x[place, column] = crossed
            weights[place, column] = m[column] * x_0[column]
            score += m[column] * crossed + of_first[column] * x_0[column]
        scores[place] = score
        if again:
            for column in range(width):
                first[place, column] = x_0[column]
        for column in range(n_hidden):
            hidden[place, column] = max(h[column], np.float32(0))


def crossed(
    vectors: Vectors, maps: Maps, of_first: NDArray[np.float32], n_hidden: int, *, layers: int
) -> tuple[Crossed, NDArray[np.float32]]:
    """Where other cross layers stand between the first and the last one.

    Args:
        vectors, maps: of n candidates.
        of_first: float32 [width], the weights of x_0 itself.
        n_hidden: columns of h.
        layers: that stand between them, at least one.

    Returns:
        The candidates with x_1 = x_0 ∘ y + x_0, and relu(h), float32 [n, hidden].
    """
    request, items, places, pairs = vectors
    n, width = len(places), len(request) + items.shape[1] + pairs.shape[1]
    first = np.empty((n if layers > 1 else 0, width), np.float32)
    x, weights = np.empty((2, n, width), np.float32)
    found = Crossed(first, x, weights, np.empty(n, np.float32))
    hidden = np.empty((n, n_hidden), np.float32)
    _crossed(vectors, maps, of_first, found, hidden)
    return found, hidden


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _cross_again(candidates: Any, product: Any, bias: Any) -> None:
    first, x, weights, scores = candidates
    sums, of_rows, of_columns = product
    again = len(first) > 0
    z = np.empty(len(bias), np.float32)
    for row in range(len(x)):
        scale, score = of_rows[row], np.float32(0)
        for column in range(len(z)):
            z[column] = np.float32(sums[row, column]) * scale * of_columns[column] + bias[column]
            score += weights[row, column] * z[column]
        scores[row] += score
        if again:
            for column in range(len(z)):
                x[row, column] += first[row, column] * z[column]


def crossed_again(candidates: Crossed, product: Product, bias: NDArray[np.float32]) -> None:
    """Adds to the scores what the next cross layer brings, with z = product + bias, and where there
    are several between the first and the last, makes of x what it does: x_0 ∘ z + x.

    Args:
        candidates: n.
        product: W x, [n, width].
        bias: float32 [width].
    """
    _cross_again(candidates, product, bias)
