"""AutoRec's compiled passes against torch's automatic gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from tastemap.kernels.autorec import (
    encode,
    gradients_by_column,
    gradients_by_row,
    ridge_fold_in,
)

K = 7


@pytest.fixture
def rated() -> csr_array:
    matrix = csr_array(random_array((9, 12), density=0.4, rng=np.random.default_rng(0)))
    matrix.data = np.round(matrix.data * 4 + 1).astype(np.float32)
    return matrix.astype(np.float32)


def arrays(matrix: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data


def test_gradients_are_those_of_the_masked_squared_error(rated: csr_array) -> None:
    rng = np.random.default_rng(1)
    V, W = (rng.normal(0, 0.3, (12, K)).astype(np.float32) for _ in range(2))
    mu, b = rng.normal(0, 0.3, K).astype(np.float32), rng.normal(3, 1, 12).astype(np.float32)
    hidden = encode(*arrays(rated), V, mu)
    residuals = np.empty(rated.nnz, np.float32)
    D = gradients_by_row(*arrays(rated), hidden, W, b, residuals)
    places = csr_array(
        (np.arange(rated.nnz, dtype=np.int32), rated.indices, rated.indptr), shape=rated.shape
    ).tocsc()
    gV, gW, gb = np.full_like(V, np.nan), np.full_like(W, np.nan), np.full_like(b, np.nan)
    gradients_by_column(
        places.indptr.astype(np.int64), places.indices.astype(np.int32), places.data,
        rated.data, residuals, hidden, D, gV, gW, gb,
    )  # fmt: skip

    leaves = [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in (V, W, mu, b)]
    tV, tW, tmu, tb = leaves
    dense = torch.from_numpy(rated.toarray().astype(np.float64))
    errors = (torch.sigmoid(dense @ tV + tmu) @ tW.T + tb - dense) * (dense > 0)
    expected = torch.autograd.grad(errors.square().sum() / 2, leaves)
    for found, wanted in zip((gV, gW, D.sum(axis=0), gb), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_fold_in_is_ridge_regression(rated: csr_array) -> None:
    rng = np.random.default_rng(2)
    Z = np.zeros((12, 8), np.float32)
    Z[:, :5], Z[:, 5] = rng.random((12, 5)), 1
    found = ridge_fold_in(*arrays(rated), Z, 5, np.float32(0.7))
    for row in range(9):
        z, v = Z[rated[[row]].indices, :6].astype(np.float64), rated[[row]].data
        penalty = np.diag([0.7] * 5 + [1e-3])
        expected = np.linalg.solve(z.T @ z + penalty, z.T @ v) if len(v) else np.zeros(6)
        np.testing.assert_allclose(found[row, :6], expected, rtol=2e-3, atol=2e-3)
    assert (found[:, 6:] == 0).all()
