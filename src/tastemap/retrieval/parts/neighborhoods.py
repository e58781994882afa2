"""What item-item models with few neighbours have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighborhoods", "best_neighbors"]

# Rows of the similarity matrix that are dense at one time.
_TILE = 512


class Neighborhoods(NamedTuple):
    """Sparse rows: those of row i are the slice offsets[i]:offsets[i+1], by item."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]


def best_neighbors(
    tile_of: Callable[[slice], NDArray[np.float32]], n: int, neighbors: int
) -> Neighborhoods:
    """The entries above 0 among the largest of each row of a matrix n × n, without its diagonal.

    Args:
        tile_of: gives some rows of the matrix, float32 [rows, n], which are overwritten.
        n: how many rows there are.
        neighbors: entries to keep of each.
    """
    counts, items, weights = [np.zeros(1, np.int64)], [], []
    kept = min(neighbors, n)
    for start in range(0, n, _TILE):
        tile = tile_of(slice(start, start + _TILE))
        rows = np.arange(len(tile))
        tile[rows, start + rows] = 0.0
        best = np.argpartition(-tile, kept - 1, axis=1)[:, :kept]
        best.sort(axis=1)
        found = np.take_along_axis(tile, best, axis=1)
        counts.append((found > 0).sum(axis=1))
        items.append(best[found > 0].astype(np.int32))
        weights.append(found[found > 0].astype(np.float32))
    return Neighborhoods(
        np.cumsum(np.concatenate(counts)), np.concatenate(items), np.concatenate(weights)
    )
