"""What of a history speaks for an item, where vectors solve ridge regressions (`kernels.als`)."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.kernels.cholesky import add_outer, factorize, solve

__all__ = ["speakers", "spoken"]


def spoken(
    vectors: NDArray[np.float32],
    wanted: NDArray[np.float32],
    gram: NDArray[np.float32],
    ridge: float,
) -> NDArray[np.float32]:
    """How much each pair of a row adds to its products with other vectors: y_j' A⁻¹ z_i with A of
    the pairs' vectors y, each of confidence 1.

    Args:
        vectors: float32 [h, d], y.
        wanted: float32 [n, d], z.
        gram, ridge: as for `kernels.als.half_step`, of one row.

    Returns:
        float32 [h, n].
    """
    h, d = vectors.shape
    width = d + -d % 8
    found = np.empty((h, len(wanted)), np.float32)
    _spoken(
        _widened(vectors, h + -h % 4, width),
        _widened(wanted, len(wanted), width),
        _widened(gram, width, width),
        np.float32(ridge),
        found,
    )
    return found


def _widened(matrix: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """A copy with zeros behind it; `np.pad` takes longer than what is then done with a copy."""
    wide = np.zeros((rows, columns), np.float32)
    wide[: len(matrix), : matrix.shape[1]] = matrix
    return wide


@nb.njit(fastmath=True, nogil=True, cache=True)
def _spoken(of_pairs: Any, wanted: Any, a: Any, ridge: Any, found: Any) -> None:
    add_outer(a, of_pairs, 0, len(of_pairs), 0, len(a), np.float32(1))
    for i in range(len(a)):
        a[i, i] += ridge
    factorize(a)
    for column in range(len(wanted)):
        z = wanted[column]
        solve(a, z)
        for row in range(len(found)):
            total = np.float32(0)
            for k in range(len(z)):
                total += of_pairs[row, k] * z[k]
            found[row, column] = total


def speakers(
    history_offsets: NDArray[np.int64],
    histories: NDArray[np.int32],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    vectors: NDArray[np.float32],
    gram: NDArray[np.float32],
    ridges: NDArray[np.float32],
) -> NDArray[np.int32]:
    """For each item row that is shown to somebody the one of their history that speaks most for it
    (`spoken`), of equal ones the lowest, or 0 where none does.

    Args:
        history_offsets, histories: int64 [B+1] and int32 [m], each item row once.
        offsets, items: int64 [B+1] and int32 [n], what is shown to each.
        vectors: float32 [item rows, d].
        gram, ridges: as for `kernels.als.half_step`, float32 [d, d] and [B].

    Returns:
        int32 [n].
    """
    found = np.zeros(len(items), np.int32)
    width = len(gram) + -len(gram) % 8
    wide = gram if width == len(gram) else _widened(gram, width, width)
    _speakers(history_offsets, histories, offsets, items, vectors, wide, ridges, found)
    return found


@nb.njit(nogil=True, cache=True)
def _speakers(
    history_offsets: Any,
    histories: Any,
    offsets: Any,
    items: Any,
    vectors: Any,
    gram: Any,
    ridges: Any,
    found: Any,
) -> None:
    width, d = len(gram), vectors.shape[1]
    for row in range(len(offsets) - 1):
        history = histories[history_offsets[row] : history_offsets[row + 1]]
        shown = items[offsets[row] : offsets[row + 1]]
        h, n = len(history), len(shown)
        if h == 0 or n == 0:
            continue
        of_pairs = np.zeros((h + -h % 4, width), np.float32)
        for place in range(h):
            of_pairs[place, :d] = vectors[history[place]]
        wanted = np.zeros((n, width), np.float32)
        for place in range(n):
            wanted[place, :d] = vectors[shown[place]]
        evidence = np.empty((h, n), np.float32)
        _spoken(of_pairs, wanted, gram.copy(), ridges[row], evidence)
        for column in range(n):
            most = np.float32(0)
            for place in range(h):
                if evidence[place, column] > most:
                    most = evidence[place, column]
                    found[offsets[row] + column] = history[place]
