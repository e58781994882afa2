"""Logistic matrix factorization: one side's step of gradient ascent over all pairs."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch

from tastemap.compiled import parallel_njit
from tastemap.kernels.mf import FAST

__all__ = ["logistic_step", "logistic_step_torch"]

# Scores of one tile of rows against all of the other side stay below this many bytes.
_TILE_BYTES = 256 << 20


@parallel_njit(fastmath=FAST)
def logistic_step(
    offsets: Any, columns: Any, weights: Any, X: Any, b: Any, Y: Any, c: Any, GX: Any, Gb: Any,
    rate: Any, penalty: Any,
) -> Any:  # fmt: skip
    """A step of Adagrad along the gradient of the log posterior (Johnson 2014, equations 5 and 6).

        s_ri = σ(x_r · y_i + b_r + c_i)
        ∂/∂x_r = sum_i (w_ri - (1 + w_ri) s_ri) y_i - penalty x_r     over all i
        ∂/∂b_r = sum_i (w_ri - (1 + w_ri) s_ri)

    where w is 0 for pairs that were not observed. Every number z of x and b has a G of its own:
    G_z += g², z += rate g / sqrt(G_z).

    Args:
        offsets, columns, weights: int64 [n+1], int32 [m], float32 [m]: the observed w, by row.
        X, b: float32 [n, k] and [n], changed in place.
        Y, c: float32 [columns, k] and [columns], the other side.
        GX, Gb: float32 [n, k] and [n], changed in place.
        rate, penalty: float32.

    Returns:
        Before the step, sum w x - (1 + w) ln(1 + e^x) over all pairs, float64.
    """
    n, k = X.shape
    likelihood = np.zeros(n)
    for row in nb.prange(n):
        gradient, bias_gradient = np.zeros(k, np.float32), np.float32(0)
        # ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); the logarithm is taken of whole products of the
        # latter, of factors up to 2, before they overflow.
        logs, product = 0.0, 1.0
        for i in range(len(Y)):
            x = _score(X, b, Y, c, row, i)
            s, small = _sigmoid(x)
            product *= 1.0 + small
            logs += max(x, np.float32(0))
            if i % 512 == 0:
                logs += np.log(product)
                product = 1.0
            bias_gradient -= s
            for f in range(k):
                gradient[f] -= s * Y[i, f]
        likelihood[row] = -logs - np.log(product)
        for event in range(offsets[row], offsets[row + 1]):
            i, w = columns[event], weights[event]
            x = _score(X, b, Y, c, row, i)
            s, small = _sigmoid(x)
            likelihood[row] += w * (min(x, np.float32(0)) - np.log1p(small))
            push = w * (np.float32(1) - s)
            bias_gradient += push
            for f in range(k):
                gradient[f] += push * Y[i, f]
        Gb[row] += bias_gradient * bias_gradient
        if Gb[row] > 0:
            b[row] += rate * bias_gradient / np.sqrt(Gb[row])
        for f in range(k):
            g = gradient[f] - penalty * X[row, f]
            GX[row, f] += g * g
            if GX[row, f] > 0:
                X[row, f] += rate * g / np.sqrt(GX[row, f])
    return likelihood.sum()


@nb.njit(cache=True, nogil=True, inline="always", fastmath=FAST)
def _score(X: Any, b: Any, Y: Any, c: Any, row: Any, i: Any) -> Any:
    x = b[row] + c[i]
    for f in range(X.shape[1]):
        x += X[row, f] * Y[i, f]
    return x


@nb.njit(cache=True, nogil=True, inline="always", fastmath=FAST)
def _sigmoid(x: Any) -> Any:
    """σ(x) and e^-|x|, neither of which overflows."""
    small = np.exp(-abs(x))
    up = np.float32(1) / (np.float32(1) + small)
    return (up if x > 0 else small * up), small


def logistic_step_torch(
    rows: torch.Tensor, columns: torch.Tensor, weights: torch.Tensor,
    X: torch.Tensor, b: torch.Tensor, Y: torch.Tensor, c: torch.Tensor,
    GX: torch.Tensor, Gb: torch.Tensor, rate: float, penalty: float,
) -> float:  # fmt: skip
    """As `logistic_step`, by matrix products on the tensors' device.

    Args:
        rows, columns, weights: int64 [m], int64 [m], float32 [m]: the observed w, by row.
        X, b, GX, Gb: float32 [n, k], [n], [n, k] and [n], changed in place.
        Y, c: float32 [columns, k] and [columns].
        rate, penalty: float.
    """
    gradient, bias_gradient = torch.zeros_like(X), torch.zeros_like(b)
    likelihood = torch.zeros((), dtype=torch.float64, device=X.device)
    tile = max(1, _TILE_BYTES // (4 * len(Y)))
    for start in range(0, len(X), tile):
        part = slice(start, start + tile)
        x = X[part] @ Y.T + b[part, None] + c
        likelihood -= torch.nn.functional.softplus(x).sum(dtype=torch.float64)
        s = torch.sigmoid_(x)
        gradient[part] = -(s @ Y)
        bias_gradient[part] = -s.sum(1)
    observed = (X[rows] * Y[columns]).sum(1) + b[rows] + c[columns]
    likelihood += (weights * torch.nn.functional.logsigmoid(observed)).sum(dtype=torch.float64)
    push = weights * torch.sigmoid(-observed)
    gradient.index_add_(0, rows, push[:, None] * Y[columns])
    bias_gradient.index_add_(0, rows, push)
    gradient -= penalty * X
    for table, g, G in ((X, gradient, GX), (b, bias_gradient, Gb)):
        G += g.square()
        table += torch.where(G > 0, rate * g * torch.rsqrt(G), torch.zeros_like(g))
    return float(likelihood)
