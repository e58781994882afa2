"""Half-steps of alternating least squares: many small ridge regressions, a row each.

For fixed vectors y of one side, a row x of the other side minimises

    sum_{j in S} c_j (1 - x·y_j)² + x' G x + ridge |x|²

whose solution is x = A⁻¹ b with A = G + sum_S c_j y_j y_j' + ridge I and b = sum_S c_j y_j
(Hu, Koren & Volinsky 2008). A is built from dot products and solved by Cholesky, in float32. Every
row is solved by one thread in one order of additions, so that the result does not depend on the
number of threads, nor on which other rows are in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.kernels.cholesky import add_outer, add_products, factorize, solve

if TYPE_CHECKING:
    import torch

__all__ = [
    "batches_by_length",
    "gram",
    "half_step",
    "half_step_torch",
    "padded_slices",
    "solve_in_axes",
]

# Rows that a thread solves with one workspace.
_ROWS_PER_TASK = 32
# Vectors gathered at a time, so that they stay in the second-level cache. Eight more numbers a
# line keep the lines from falling on the same places of the first.
_PANEL = 64
_LINE = _PANEL + 8
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
    panel = np.empty((d, _LINE), np.float32)
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
                root, vector = np.sqrt(confidence), vectors[columns[start + k]]
                for j in range(d):
                    b[j] += confidence * vector[j]
                for j in range(d):
                    panel[j, k] = root * vector[j]
            whole = (size + 7) // 8 * 8
            for j in range(d):
                for k in range(size, whole):
                    panel[j, k] = 0
            add_products(a, panel, whole)
        factorize(a)
        solve(a, b)


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
        add_outer(parts[block], vectors, start, stop, 0, vectors.shape[1], np.float32(1))


def solve_in_axes(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float32],
    vectors: NDArray[np.float32],
    axis_costs: NDArray[np.float32],
    ridge: NDArray[np.float32],
) -> NDArray[np.float32]:
    """As `half_step` where G is diagonal: exact, and cheap for rows with few pairs.

    With D = G + ridge I and P = C^½ Y D^-½, the solution is x = D^-½ P' (I + P P')⁻¹ C^½ 1
    (Woodbury's identity): a system of the size of the row's pairs instead of d. Rows with more
    pairs than d are solved as by `half_step`.

    Args:
        axis_costs: float32 [d], the diagonal of G. The others are as for `half_step`.
    """
    counts = np.diff(offsets)
    n, d = len(counts), vectors.shape[1]
    out = np.zeros((n, d), np.float32)
    columns = np.asarray(columns, np.int32)
    confidences = np.asarray(confidences, np.float32)
    short = np.flatnonzero((counts > 0) & (counts <= d))
    padding = -d % 8
    solved = np.zeros((len(short), d + padding), np.float32)
    _solve_short(
        short,
        np.asarray(offsets, np.int64),
        columns,
        confidences,
        np.pad(np.asarray(vectors, np.float32), ((0, 0), (0, padding))),
        np.pad(np.asarray(axis_costs, np.float32), (0, padding)),
        np.asarray(ridge, np.float32),
        solved,
    )
    out[short] = solved[:, :d]
    long = np.flatnonzero(counts > d)
    if len(long):
        pairs = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in long])
        out[long] = half_step(
            np.concatenate([[0], np.cumsum(counts[long])]),
            columns[pairs],
            confidences[pairs],
            vectors,
            np.diag(axis_costs),
            ridge[long],
        )
    return out


@parallel_njit()
def _solve_short(
    rows: Any,
    offsets: Any,
    columns: Any,
    confidences: Any,
    vectors: Any,
    axis_costs: Any,
    ridge: Any,
    out: Any,
) -> None:
    for place in nb.prange(len(rows)):
        row = rows[place]
        first = offsets[row]
        _solve_short_row(
            columns[first : offsets[row + 1]],
            confidences[first : offsets[row + 1]],
            vectors,
            axis_costs,
            ridge[row],
            out[place],
        )


@nb.njit(fastmath=True, nogil=True, cache=True)
def _solve_short_row(
    columns: Any, confidences: Any, vectors: Any, axis_costs: Any, ridge: Any, x: Any
) -> None:
    n, d = len(columns), len(x)
    whole = (n + 7) // 8 * 8
    scale = np.empty(d, np.float32)
    for j in range(d):
        scale[j] = np.float32(1) / np.sqrt(axis_costs[j] + ridge)
    p = np.zeros((whole, d), np.float32)
    b = np.zeros(whole, np.float32)
    for k in range(n):
        root = np.sqrt(confidences[k])
        b[k] = root
        y, target = vectors[columns[k]], p[k]
        for j in range(d):
            target[j] = root * y[j] * scale[j]
    a = np.zeros((whole, whole), np.float32)
    for k in range(whole):
        a[k, k] = 1
    add_products(a, p, d)
    factorize(a)
    solve(a, b)
    for k in range(n):
        weight, source = b[k], p[k]
        for j in range(d):
            x[j] += weight * source[j]
    for j in range(d):
        x[j] *= scale[j]


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
    for rows in batches_by_length(counts, d, d, _TORCH_NUMBERS):
        index, real = padded_slices(offsets, rows)
        weight = torch.from_numpy(np.where(real, confidences[index], 0)[:, :, None]).to(device)
        picked = vectors[torch.from_numpy(columns[index].astype(np.int64)).to(device)]
        weighted = weight * picked
        a = torch.baddbmm(gram.expand(len(rows), d, d), picked.mT, weighted)
        a.diagonal(dim1=1, dim2=2).add_(torch.from_numpy(ridge[rows][:, None]).to(device))
        factor = torch.linalg.cholesky(a)
        solved = torch.cholesky_solve(weighted.sum(dim=1)[:, :, None], factor)
        out[torch.from_numpy(rows).to(device)] = solved[:, :, 0]
    return out


def batches_by_length(
    counts: NDArray[np.int64], width: int, least: int, numbers: int
) -> Iterator[NDArray[np.int64]]:
    """Rows that have pairs, in order of their length, in batches for `padded_slices`.

    A batch of b rows, the longest of n pairs, takes b × max(n, least) × width numbers, at most
    `numbers` where it has more than one row.
    """
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        # The longest of the batch sets its width, so a batch is taken from the sorted rows'
        # front for as long as width × rows fits.
        widths = np.maximum(counts[order[start:]], least)
        sizes = widths * np.arange(1, len(widths) + 1) * width
        rows = order[start : start + max(1, int(np.searchsorted(sizes, numbers, "right")))]
        start += len(rows)
        yield rows


def padded_slices(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the pairs of `rows` lie, int64 [rows, longest], and which of them are real."""
    counts = offsets[rows + 1] - offsets[rows]
    place = np.arange(counts.max())
    real = place < counts[:, None]
    return np.where(real, offsets[rows][:, None] + place, 0), real
