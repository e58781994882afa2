"""The passes of AutoRec over what was observed, in time for observed pairs × hidden units.

A batch of rows (items, or users) has the observed values v of its columns. Rows are independent in
the forward pass and in the gradient of what is hidden, columns in the gradients of the weights, so
that each number is added up by one thread in one order.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.cholesky import add_outer, factorize, solve

__all__ = ["encode", "gradients_by_column", "gradients_by_row", "ridge_fold_in"]

# Not all of fast-math: NaN and infinity must stay what they are, as signs of divergence.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@parallel_njit(fastmath=_FAST)
def encode(offsets: Any, columns: Any, values: Any, V: Any, mu: Any) -> Any:
    """The hidden units σ(V v + μ) of histories, float32 [B, k].

    Args:
        offsets, columns, values: int64 [B+1], int32 [m], float32 [m].
        V, mu: float32 [columns, k] and [k].
    """
    B, k = len(offsets) - 1, V.shape[1]
    H = np.empty((B, k), np.float32)
    for row in nb.prange(B):
        h = H[row]
        h[:] = mu
        for event in range(offsets[row], offsets[row + 1]):
            value, weights = values[event], V[columns[event]]
            for f in range(k):
                h[f] += value * weights[f]
        for f in range(k):
            h[f] = np.float32(1) / (np.float32(1) + np.exp(-h[f]))
    return H


@parallel_njit(fastmath=_FAST)
def gradients_by_row(
    offsets: Any, columns: Any, values: Any, H: Any, W: Any, b: Any, residuals: Any
) -> Any:
    """The gradient of ½ Σ e² of the observed by V v + μ, float32 [B, k], e = W_c · h + b_c - v.

    Args:
        offsets, columns, values: see `encode`.
        H: float32 [B, k], from `encode`.
        W, b: float32 [columns, k] and [columns].
        residuals: float32 [m], receives e.
    """
    B, k = H.shape
    D = np.zeros((B, k), np.float32)
    for row in nb.prange(B):
        h, d = H[row], D[row]
        for event in range(offsets[row], offsets[row + 1]):
            weights = W[columns[event]]
            e = b[columns[event]] - values[event]
            for f in range(k):
                e += weights[f] * h[f]
            residuals[event] = e
            for f in range(k):
                d[f] += e * weights[f]
        for f in range(k):
            d[f] *= h[f] * (np.float32(1) - h[f])
    return D


@parallel_njit(fastmath=_FAST)
def gradients_by_column(
    offsets: Any, rows: Any, events: Any, values: Any, residuals: Any, H: Any, D: Any,
    gV: Any, gW: Any, gb: Any,
) -> None:  # fmt: skip
    """The gradients of ½ Σ e² by V, W and b; all three are overwritten.

    Args:
        offsets, rows, events: int64 [columns + 1], int32 [m], int32 [m]: the observed by column,
            with the place of each in `values` and `residuals`.
        values, residuals: float32 [m], in the order of `encode`.
        H, D: float32 [B, k], from `encode` and `gradients_by_row`.
        gV, gW, gb: float32 [columns, k], [columns, k] and [columns].
    """
    k = H.shape[1]
    for column in nb.prange(len(offsets) - 1):
        v, w = gV[column], gW[column]
        v[:] = 0
        w[:] = 0
        total = np.float32(0)
        for place in range(offsets[column], offsets[column + 1]):
            e, value = residuals[events[place]], values[events[place]]
            h, d = H[rows[place]], D[rows[place]]
            total += e
            for f in range(k):
                w[f] += e * h[f]
                v[f] += value * d[f]
        gb[column] = total


# Vectors gathered at a time, so that they stay in the first-level cache.
_PANEL = 32


@parallel_njit()
def ridge_fold_in(offsets: Any, items: Any, values: Any, Z: Any, k: Any, penalty: Any) -> Any:
    """The minima of Σ (v - w · z_i)² + penalty |w_1..k|² of histories, float32 [B, d].

    Args:
        offsets, items, values: int64 [B+1], int32 [m], float32 [m].
        Z: float32 [items, d], the items' vectors; d is a multiple of 8, columns beyond those in use
            are 0.
        k: int, how many of the first columns are penalised; the others hardly are.
        penalty: float32, > 0.
    """
    B, d = len(offsets) - 1, Z.shape[1]
    out = np.zeros((B, d), np.float32)
    for row in nb.prange(B):
        a, panel, b = np.zeros((d, d), np.float32), np.zeros((_PANEL, d), np.float32), out[row]
        for f in range(d):
            a[f, f] = penalty if f < k else np.float32(1e-3)
        for start in range(offsets[row], offsets[row + 1], _PANEL):
            size = min(_PANEL, offsets[row + 1] - start)
            for place in range(size):
                vector, value = Z[items[start + place]], values[start + place]
                for f in range(d):
                    panel[place, f] = vector[f]
                    b[f] += value * vector[f]
            full = (size + 3) // 4 * 4
            panel[size:full] = 0
            add_outer(a, panel, 0, full, 0, d, np.float32(1))
        factorize(a)
        solve(a, b)
    return out
