"""Sweeps of iALS++: a row's vector is improved a block of coordinates at a time.

For fixed vectors y of one side, a row x of the other side minimises what `kernels.als` solves
exactly,

    f(x) = sum_{j in S} c_j (1 - x·y_j)² + x' G x + ridge |x|²

A sweep takes one Newton step in each block of coordinates in turn; f is quadratic, so each step
goes to the minimum over its block, given the rest (Rendle, Krichene, Zhang & Koren 2021, section
4). With d coordinates in blocks of b, a row with s pairs costs s d b + d b² + d² multiplications,
where the exact solution costs s d² + d³.

A row is swept by one thread in one order of additions, so that the result depends neither on the
number of threads nor on which other rows are in the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tastemap.compiled import parallel_njit
from tastemap.kernels.als import batches_by_length, padded_slices
from tastemap.kernels.cholesky import add_products, factorize, solve

if TYPE_CHECKING:
    import torch

__all__ = ["sweep", "sweep_torch"]

# Rows that a thread sweeps with one workspace.
_ROWS_PER_TASK = 16
# Vectors gathered at a time, so that a block of them stays in the first-level cache. Eight more
# numbers a line keep the lines from falling on the same places of that cache.
_PANEL = 128
_LINE = _PANEL + 8
# The GPU gathers at most so many numbers at a time.
_TORCH_NUMBERS = 1 << 26


def sweep(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float32],
    vectors: NDArray[np.float32],
    gram: NDArray[np.float32],
    ridge: NDArray[np.float32],
    before: NDArray[np.float32],
    block_size: int,
) -> NDArray[np.float32]:
    """One sweep over all blocks, for all rows of one side.

    Args:
        offsets, columns, confidences: the observed pairs by row (CSR): int64 [n+1], int32 [m],
            float32 [m]; S of row i is the slice offsets[i]:offsets[i+1].
        vectors: float32 [columns, d], the fixed side.
        gram: float32 [d, d], G: what the unobserved pairs cost.
        ridge: float32 [n], above 0.
        before: float32 [n, d], the rows' vectors so far.
        block_size: coordinates of a block, at least 1; blocks are made about equal, and rounded up
            to a multiple of 8.

    Returns:
        float32 [n, d]; zeros for a row without observed pairs.
    """
    d = vectors.shape[1]
    block = _even_block(d, block_size)
    padding = -d % block
    out = np.pad(before, ((0, 0), (0, padding)))
    _sweep(
        np.asarray(offsets, np.int64),
        np.asarray(columns, np.int32),
        np.asarray(confidences, np.float32),
        np.pad(np.asarray(vectors, np.float32), ((0, 0), (0, padding))),
        np.pad(np.asarray(gram, np.float32), (0, padding)),
        np.asarray(ridge, np.float32),
        block,
        out,
    )
    return np.ascontiguousarray(out[:, :d])


def _even_block(d: int, block_size: int) -> int:
    blocks = -(-d // block_size)
    return -(-d // (8 * blocks)) * 8


@nb.njit(fastmath=True, nogil=True, cache=True)
def _sweep_row(
    columns: Any,
    confidences: Any,
    vectors: Any,
    gram: Any,
    ridge: Any,
    x: Any,
    a: Any,
    panel: Any,
    step: Any,
    error: Any,
) -> None:
    n, d, block = len(columns), len(x), len(a)
    for k in range(n):
        y, total = vectors[columns[k]], np.float32(-1)
        for j in range(d):
            total += x[j] * y[j]
        error[k] = total
    for left in range(0, d, block):
        part = x[left : left + block]
        for i in range(block):
            # Half the gradient of what does not depend on the pairs, and half its curvature.
            row, total = gram[left + i], ridge * part[i]
            for j in range(d):
                total += row[j] * x[j]
            step[i] = total
            target, own = a[i], row[left : left + block]
            for j in range(block):
                target[j] = own[j]
            target[i] += ridge
        for first in range(0, n, _PANEL):
            size = min(_PANEL, n - first)
            for k in range(size):
                c = confidences[first + k]
                root, slope = np.sqrt(c), c * error[first + k]
                y = vectors[columns[first + k], left : left + block]
                for j in range(block):
                    step[j] += slope * y[j]
                for j in range(block):
                    panel[j, k] = root * y[j]
            whole = (size + 7) // 8 * 8
            for j in range(block):
                for k in range(size, whole):
                    panel[j, k] = 0
            add_products(a, panel, whole)
        factorize(a)
        solve(a, step)
        for j in range(block):
            part[j] -= step[j]
        if left + block < d:
            for k in range(n):
                y, total = vectors[columns[k], left : left + block], np.float32(0)
                for j in range(block):
                    total += step[j] * y[j]
                error[k] -= total


@parallel_njit()
def _sweep(
    offsets: Any,
    columns: Any,
    confidences: Any,
    vectors: Any,
    gram: Any,
    ridge: Any,
    block: Any,
    out: Any,
) -> None:
    n = len(out)
    for task in nb.prange((n + _ROWS_PER_TASK - 1) // _ROWS_PER_TASK):
        first = task * _ROWS_PER_TASK
        last = min(n, first + _ROWS_PER_TASK)
        longest = 0
        for row in range(first, last):
            longest = max(longest, offsets[row + 1] - offsets[row])
        a = np.empty((block, block), np.float32)
        panel = np.empty((block, _LINE), np.float32)
        step = np.empty(block, np.float32)
        error = np.empty(longest, np.float32)
        for row in range(first, last):
            begin, end = offsets[row], offsets[row + 1]
            if begin == end:
                out[row, :] = 0
                continue
            _sweep_row(
                columns[begin:end],
                confidences[begin:end],
                vectors,
                gram,
                ridge[row],
                out[row],
                a,
                panel,
                step,
                error,
            )


def sweep_torch(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float32],
    vectors: torch.Tensor,
    gram: torch.Tensor,
    ridge: NDArray[np.float32],
    before: torch.Tensor,
    block_size: int,
) -> torch.Tensor:
    """As `sweep`, on the device of `vectors`, with batched Cholesky factorisations.

    Rows are taken in order of their length, so that little is wasted on padding.
    """
    import torch

    device, d = vectors.device, vectors.shape[1]
    block = _even_block(d, block_size)
    counts = np.diff(offsets)
    out = torch.zeros_like(before)
    for rows in batches_by_length(counts, d, block, _TORCH_NUMBERS):
        index, real = padded_slices(offsets, rows)
        weight = torch.from_numpy(np.where(real, confidences[index], 0)).to(device)
        picked = vectors[torch.from_numpy(columns[index].astype(np.int64)).to(device)]
        at = torch.from_numpy(rows).to(device)
        ridges = torch.from_numpy(ridge[rows]).to(device)[:, None]
        x = before[at]
        error = torch.einsum("rkd,rd->rk", picked, x) - 1.0
        for left in range(0, d, block):
            part = slice(left, min(d, left + block))
            y = picked[:, :, part]
            weighted = weight[:, :, None] * y
            slope = x @ gram[:, part] + ridges * x[:, part]
            slope += torch.einsum("rkb,rk->rb", weighted, error)
            size = y.shape[2]
            a = torch.baddbmm(gram[part, part].expand(len(rows), size, size), y.mT, weighted)
            a.diagonal(dim1=1, dim2=2).add_(ridges)
            step = torch.cholesky_solve(slope[:, :, None], torch.linalg.cholesky(a))
            x[:, part] -= step[:, :, 0]
            error -= (y @ step)[:, :, 0]
        out[at] = x
    return out
