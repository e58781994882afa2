"""Half-steps of alternating least squares: many small ridge regressions, a row each.

For fixed vectors y of one side, a row x of the other side minimises

    sum_{j in S} c_j (1 - x·y_j)² + x' G x + ridge |x|²

whose solution is x = A⁻¹ b with A = G + sum_S c_j y_j y_j' + ridge I and b = sum_S c_j y_j
(Hu, Koren & Volinsky 2008). A is built by rank-4 updates and solved by Cholesky, in float32. Every
row is solved by one thread in one order of additions, so that the result does not depend on the
number of threads, nor on which other rows are in the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit

if TYPE_CHECKING:
    import torch

__all__ = ["gram", "half_step", "half_step_torch"]

# Rows that a thread solves with one workspace.
_ROWS_PER_TASK = 32
# Vectors gathered at a time, so that they stay in the first-level cache.
_PANEL = 32
# Rows of one partial sum of a Gram matrix.
_GRAM_BLOCK = 1024
# The GPU gathers at most so many numbers at a time.
_TORCH_NUMBERS = 1 << 26


def half_step(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float32],
    vectors: NDArray[np.float32],
    gram: NDArray[np.float32],
    ridge: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Solves for all rows of one side.

    Args:
        offsets, columns, confidences: the observed pairs by row (CSR): int64 [n+1], int32 [m],
            float32 [m]; S of row i is the slice offsets[i]:offsets[i+1].
        vectors: float32 [columns, d], the fixed side.
        gram: float32 [d, d], G: what the unobserved pairs cost.
        ridge: float32 [n], above 0.

    Returns:
        float32 [n, d]; zeros for a row without observed pairs.
    """
    d = vectors.shape[1]
    padding = -d % 8
    if padding:
        # The compiled loops go in steps of 4 and 8; zero columns stay zero in the solution.
        vectors = np.pad(vectors, ((0, 0), (0, padding)))
        gram = np.pad(gram, (0, padding))
    out = np.zeros((len(offsets) - 1, d + padding), np.float32)
    _half_step(
        np.asarray(offsets, np.int64),
        np.asarray(columns, np.int32),
        np.asarray(confidences, np.float32),
        np.ascontiguousarray(vectors, np.float32),
        np.ascontiguousarray(gram, np.float32),
        np.asarray(ridge, np.float32),
        out,
    )
    return np.ascontiguousarray(out[:, :d])


def gram(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """sum_j y_j y_j' of the rows of float32 [n, d], float32 [d, d].

    Unlike a call of BLAS it adds in the same order for any number of threads.
    """
    n, d = vectors.shape
    padded = np.pad(np.asarray(vectors, np.float32), ((0, -n % 4), (0, -d % 8)))
    parts = np.zeros((max(1, -(-len(padded) // _GRAM_BLOCK)), *(2 * padded.shape[1:])), np.float32)
    _gram_parts(padded, parts)
    upper = np.triu(parts.sum(axis=0, dtype=np.float64))[:d, :d]
    full: NDArray[np.float32] = (upper + np.triu(upper, 1).T).astype(np.float32)
    return full


@nb.njit(fastmath=True, nogil=True, cache=True)
def _add_outer(a: Any, panel: Any, start: Any, stop: Any, first: Any, last: Any, sign: Any) -> None:
    """a[i, j] += sign * sum_{start <= k < stop} panel[k, i] panel[k, j], first <= i < last, i <= j.

    Four rows of `a` and four of `panel` at a time: 16 multiplications for 8 loads and 4 stores is
    what brings it near the speed of a BLAS, without its threads. Some entries below the diagonal
    are written too; nothing reads them.
    """
    # Rows of `a` outside: four of them stay in the first-level cache while the panel passes by.
    for i in range(first, last, 4):
        for k in range(start, stop, 4):
            f00, f01 = sign * panel[k, i], sign * panel[k, i + 1]
            f02, f03 = sign * panel[k, i + 2], sign * panel[k, i + 3]
            f10, f11 = sign * panel[k + 1, i], sign * panel[k + 1, i + 1]
            f12, f13 = sign * panel[k + 1, i + 2], sign * panel[k + 1, i + 3]
            f20, f21 = sign * panel[k + 2, i], sign * panel[k + 2, i + 1]
            f22, f23 = sign * panel[k + 2, i + 2], sign * panel[k + 2, i + 3]
            f30, f31 = sign * panel[k + 3, i], sign * panel[k + 3, i + 1]
            f32, f33 = sign * panel[k + 3, i + 2], sign * panel[k + 3, i + 3]
            # Whole vectors of eight leave no remainder, the slow part where d is small.
            left = i - i % 8
            p0, p1 = panel[k, left:], panel[k + 1, left:]
            p2, p3 = panel[k + 2, left:], panel[k + 3, left:]
            a0, a1, a2, a3 = a[i, left:], a[i + 1, left:], a[i + 2, left:], a[i + 3, left:]
            # From 0 over slices: otherwise Numba checks for negative indices and cannot vectorise.
            for j in range(len(a0)):
                q0, q1, q2, q3 = p0[j], p1[j], p2[j], p3[j]
                a0[j] += f00 * q0 + f10 * q1 + f20 * q2 + f30 * q3
                a1[j] += f01 * q0 + f11 * q1 + f21 * q2 + f31 * q3
                a2[j] += f02 * q0 + f12 * q1 + f22 * q2 + f32 * q3
                a3[j] += f03 * q0 + f13 * q1 + f23 * q2 + f33 * q3


@nb.njit(fastmath=True, nogil=True, cache=True)
def _cholesky(a: Any) -> None:
    """Overwrites the upper triangle of a [d, d] with U, a = U'U; d is a multiple of 8."""
    d = len(a)
    largest = np.float32(0)
    for i in range(d):
        largest = max(largest, a[i, i])
    for start in range(0, d, 4):
        _add_outer(a, a, 0, start, start, start + 4, np.float32(-1))
        for k in range(start, start + 4):
            row = a[k, k:]
            for above in range(start, k):
                factor, other = a[above, k], a[above, k:]
                for j in range(len(row)):
                    row[j] -= factor * other[j]
            if row[0] < np.float32(1e-6) * largest:
                # What is left of this direction is rounding error: leave it out of the solution.
                row[0] = largest
                for j in range(1, len(row)):
                    row[j] = 0
            scale = np.float32(1) / np.sqrt(row[0])
            for j in range(len(row)):
                row[j] *= scale


@nb.njit(fastmath=True, nogil=True, cache=True)
def _solve(u: Any, b: Any) -> None:
    """Overwrites b [d] with the solution of U'U x = b."""
    for i in range(len(b)):
        b[i] /= u[i, i]
        value, row, rest = b[i], u[i, i + 1 :], b[i + 1 :]
        for j in range(len(rest)):
            rest[j] -= value * row[j]
    for i in range(len(b) - 1, -1, -1):
        total, row, rest = np.float32(0), u[i, i + 1 :], b[i + 1 :]
        for j in range(len(rest)):
            total += row[j] * rest[j]
        b[i] = (b[i] - total) / u[i, i]


@nb.njit(fastmath=True, nogil=True, cache=True)
def _solve_rows(
    first: Any,
    last: Any,
    offsets: Any,
    columns: Any,
    confidences: Any,
    vectors: Any,
    gram: Any,
    ridge: Any,
    out: Any,
) -> None:
    d = len(gram)
    a = np.empty((d, d), np.float32)
    panel = np.empty((_PANEL, d), np.float32)
    for row in range(first, last):
        if offsets[row] == offsets[row + 1]:
            continue
        for i in range(d):
            for j in range(d):
                a[i, j] = gram[i, j]
            a[i, i] += ridge[row]
        b = out[row]
        for start in range(offsets[row], offsets[row + 1], _PANEL):
            size = min(_PANEL, offsets[row + 1] - start)
            for k in range(size):
                confidence = confidences[start + k]
                root = np.sqrt(confidence)
                vector, target = vectors[columns[start + k]], panel[k]
                for j in range(d):
                    target[j] = root * vector[j]
                    b[j] += confidence * vector[j]
            full = (size + 3) // 4 * 4
            for k in range(size, full):
                for j in range(d):
                    panel[k, j] = 0
            _add_outer(a, panel, 0, full, 0, d, np.float32(1))
        _cholesky(a)
        _solve(a, b)


@parallel_njit()
def _half_step(
    offsets: Any, columns: Any, confidences: Any, vectors: Any, gram: Any, ridge: Any, out: Any
) -> None:
    n = len(out)
    for task in nb.prange((n + _ROWS_PER_TASK - 1) // _ROWS_PER_TASK):
        first = task * _ROWS_PER_TASK
        last = min(n, first + _ROWS_PER_TASK)
        _solve_rows(first, last, offsets, columns, confidences, vectors, gram, ridge, out)


@parallel_njit()
def _gram_parts(vectors: Any, parts: Any) -> None:
    for block in nb.prange(len(parts)):
        start = block * _GRAM_BLOCK
        stop = min(len(vectors), start + _GRAM_BLOCK)
        _add_outer(parts[block], vectors, start, stop, 0, vectors.shape[1], np.float32(1))


def half_step_torch(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float32],
    vectors: torch.Tensor,
    gram: torch.Tensor,
    ridge: NDArray[np.float32],
) -> torch.Tensor:
    """As `half_step`, on the device of `vectors`, with batched Cholesky factorisations.

    Rows are taken in order of their length, so that little is wasted on padding.
    """
    import torch

    device, d = vectors.device, vectors.shape[1]
    counts = np.diff(offsets)
    out = torch.zeros((len(counts), d), dtype=torch.float32, device=device)
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        # The longest of the batch sets its width, so a batch is taken from the sorted rows'
        # front for as long as width × rows fits.
        widths = np.maximum(counts[order[start:]], d)
        sizes = widths * np.arange(1, len(widths) + 1) * d
        rows = order[start : start + max(1, int(np.searchsorted(sizes, _TORCH_NUMBERS, "right")))]
        start += len(rows)
        place = np.arange(counts[rows[-1]])
        real = place < counts[rows][:, None]
        index = np.where(real, offsets[rows][:, None] + place, 0)
        weight = torch.from_numpy(np.where(real, confidences[index], 0)[:, :, None]).to(device)
        picked = vectors[torch.from_numpy(columns[index].astype(np.int64)).to(device)]
        weighted = weight * picked
        a = torch.baddbmm(gram.expand(len(rows), d, d), picked.mT, weighted)
        a.diagonal(dim1=1, dim2=2).add_(torch.from_numpy(ridge[rows][:, None]).to(device))
        factor = torch.linalg.cholesky(a)
        solved = torch.cholesky_solve(weighted.sum(dim=1)[:, :, None], factor)
        out[torch.from_numpy(rows).to(device)] = solved[:, :, 0]
    return out
