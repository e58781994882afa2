"""Sums of dense rows: the scoring step of linear item-item models."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.compiled import parallel_njit

__all__ = ["sum_rows"]

# A tile of columns of all rows should stay in the second-level cache: 3,500 items × 128 × 4 bytes
# is 1.8 MB.
_COLUMNS = 128
_ROWS = 256


def sum_rows(histories: csr_array, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of sparse histories [B, n] and a dense matrix [n, m], float32 [B, m].

    The histories are so sparse (100 of 3,500 items, say) that adding up rows does a few hundredths
    of the work of a dense product. Each output is added up in the order of its history, so that it
    does not depend on the rest of the batch or on the number of threads.
    """
    out = np.zeros((histories.shape[0], matrix.shape[1]), np.float32)
    _sum_rows(
        histories.indptr.astype(np.int64),
        histories.indices.astype(np.int32),
        histories.data.astype(np.float32),
        np.ascontiguousarray(matrix, np.float32),
        out,
    )
    return out


@nb.njit(fastmath=True, nogil=True, cache=True)
def _sum_tile(
    offsets: Any, columns: Any, weights: Any, matrix: Any, out: Any, first: Any, last: Any
) -> None:
    for row in range(len(offsets) - 1):
        target = out[row, first:last]
        entry, stop = offsets[row], offsets[row + 1]
        while entry + 4 <= stop:
            w0, w1, w2, w3 = (
                weights[entry],
                weights[entry + 1],
                weights[entry + 2],
                weights[entry + 3],
            )
            m0 = matrix[columns[entry], first:last]
            m1 = matrix[columns[entry + 1], first:last]
            m2 = matrix[columns[entry + 2], first:last]
            m3 = matrix[columns[entry + 3], first:last]
            for j in range(len(target)):
                target[j] += w0 * m0[j] + w1 * m1[j] + w2 * m2[j] + w3 * m3[j]
            entry += 4
        while entry < stop:
            weight, values = weights[entry], matrix[columns[entry], first:last]
            for j in range(len(target)):
                target[j] += weight * values[j]
            entry += 1


@parallel_njit()
def _sum_rows(offsets: Any, columns: Any, weights: Any, matrix: Any, out: Any) -> None:
    n, m = out.shape
    row_tiles = (n + _ROWS - 1) // _ROWS
    column_tiles = (m + _COLUMNS - 1) // _COLUMNS
    # Row tiles change fastest: a thread keeps its tile of the matrix while it goes down the rows.
    for tile in nb.prange(row_tiles * column_tiles):
        top = (tile % row_tiles) * _ROWS
        bottom = min(n, top + _ROWS)
        first = (tile // row_tiles) * _COLUMNS
        _sum_tile(
            offsets[top : bottom + 1],
            columns,
            weights,
            matrix,
            out[top:bottom],
            first,
            min(m, first + _COLUMNS),
        )
