"""Vectors of numbers that are piecewise linear in them."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["beside", "located"]


@nb.njit(cache=True, nogil=True)
def _located(numbers: Any, left: Any, width: Any, nodes: Any, within: Any) -> None:
    rows, features = numbers.shape
    bins = left.shape[1]
    for feature in range(features):
        for row in range(rows):
            x = numbers[row, feature]
            # All bins are compared, which takes a quarter of the time of a search, since nothing
            # has to be guessed; bins that are not there begin at infinity.
            begun = 0
            for place in range(bins):
                begun += int(left[feature, place] <= x)
            place = max(begun - 1, 0)
            reach = (x - left[feature, place]) / width[feature, place]
            missing = np.isnan(x)
            nodes[row, feature] = 0 if missing else 1 + place
            part = min(max(reach, np.float32(0)), np.float32(1))
            within[row, feature] = np.float32(0) if missing else part


def located(
    numbers: NDArray[np.float32], left: NDArray[np.float32], width: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Where numbers stand among the nodes of their features. Node 0 is that of what is missing,
    node 1 + t the beginning of bin t, and the last one the end of the last bin.

    Args:
        numbers: float32 [B, n], NaN where missing.
        left, width: float32 [n, bins], where each bin of a feature begins, rising, and its width;
            a number outside all bins counts as the nearest end.

    Returns:
        int32 [B, n], the node at a number or before it, and float32 [B, n], the share of the way to
        the next one.
    """
    nodes, within = np.empty(numbers.shape, np.int32), np.empty(numbers.shape, np.float32)
    _located(numbers, left, width, nodes, within)
    return nodes, within


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _beside(
    before: Any, shared: Any, places: Any, given: Any, nodes: Any, within: Any, values: Any,
    found: Any,
) -> None:  # fmt: skip
    dim = values.shape[2]
    for row in range(len(found)):
        into = found[row]
        into[: len(before)] = before
        begin = len(before) + shared.shape[1]
        into[len(before) : begin] = shared[places[row]]
        into[begin : begin + given.shape[1]] = given[row]
        begin += given.shape[1]
        for feature in range(nodes.shape[1]):
            node, share = nodes[row, feature], within[row, feature]
            here, after = values[feature, node], values[feature, node + 1]
            part = into[begin : begin + dim]
            for place in range(dim):
                part[place] = here[place] + share * (after[place] - here[place])
            begin += dim


def beside(
    before: NDArray[np.float32],
    shared: NDArray[np.float32],
    places: NDArray[np.int64],
    given: NDArray[np.float32],
    nodes: NDArray[np.int32],
    within: NDArray[np.float32],
    values: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    """Writes the vectors of each row one beside the other, those of numbers at the end.

    Args:
        before: float32 [b], with which all rows begin.
        shared: float32 [m, s], what comes then, at the `places`, int64 [B], of the rows.
        given: float32 [B, g], what comes then.
        nodes, within: [B, n], of `located`.
        values: float32 [n, bins + 2, dim], the vectors at the nodes.
        found: float32 [B, b + s + g + n × dim], is written to.
    """
    _beside(before, shared, places, given, nodes, within, values, found)
