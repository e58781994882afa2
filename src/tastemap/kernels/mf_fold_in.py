"""Vectors of users by their histories, with the items of matrix factorization held fixed.

The result for a history depends on nothing but the history itself.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST

__all__ = ["mse_fold_in"]


@parallel_njit(fastmath=FAST)
def mse_fold_in(
    offsets: Any, items: Any, values: Any, Q: Any, c: Any, penalty: Any, bias_penalty: Any
) -> Any:
    """The minimum of the squared error over p_u and b_u, float32 [B, k+1]; b_u comes last.

    With x_i = (q_i, 1), n events and Λ the diagonal of the penalties it solves
    (Σ x_i x_iᵀ + n Λ) (p_u, b_u) = Σ (r_i - c_i) x_i in float64. Empty histories give 0.

    Args:
        offsets, items, values: int64 [B+1], int32 [m], float32 [m], the histories, less the mean of
            all ratings; item row 0 is passed over.
        Q, c: float32 [item rows, k] and [item rows].
        penalty, bias_penalty: float, > 0.
    """
    n, k = len(offsets) - 1, Q.shape[1]
    found = np.zeros((n, k + 1), np.float32)
    for row in nb.prange(n):
        a, y, x = np.zeros((k + 1, k + 1)), np.zeros(k + 1), np.ones(k + 1)
        count = 0
        for event in range(offsets[row], offsets[row + 1]):
            i = items[event]
            if i == 0:
                continue
            count += 1
            wanted = np.float64(values[event]) - c[i]
            for f in range(k):
                x[f] = Q[i, f]
            for f in range(k + 1):
                y[f] += wanted * x[f]
                for g in range(f + 1):
                    a[f, g] += x[f] * x[g]
        if count > 0:
            for f in range(k + 1):
                a[f, f] += count * (penalty if f < k else bias_penalty)
            _solve_in_place(a, y)
            found[row] = y
    return found


@nb.njit(cache=True, nogil=True, fastmath=FAST)
def _solve_in_place(a: Any, y: Any) -> None:
    """Turns y into the solution of a z = y; of a, positive definite, the lower half is read.

    Cholesky, row by row: a becomes the lower triangular L with L Lᵀ = a.
    """
    n = len(y)
    for i in range(n):
        for j in range(i + 1):
            dot = a[i, j]
            for f in range(j):
                dot -= a[i, f] * a[j, f]
            a[i, j] = np.sqrt(dot) if i == j else dot / a[j, j]
    for i in range(n):
        for f in range(i):
            y[i] -= a[i, f] * y[f]
        y[i] /= a[i, i]
    for i in range(n - 1, -1, -1):
        y[i] /= a[i, i]
        for f in range(i):
            y[f] -= a[i, f] * y[i]
