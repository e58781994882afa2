"""Vectors foretold from attributes: a ridge regression, solved plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from tastemap.nn.attribute_bag import SparseRows
from tastemap.nn.attribute_regression import AttributeRegression


@pytest.mark.parametrize("penalty", [0.3, 3.0])
def test_it_is_the_ridge_regression_of_what_stands_over_the_mean(penalty: float) -> None:
    rng = np.random.default_rng(0)
    dense = (rng.random((12, 5)) * (rng.random((12, 5)) < 0.6)).astype(np.float32)
    dense[:, 0] += 0.1
    dense[4] = 0
    learned, vectors = np.array([7, 1, 2, 9, 0, 5, 6, 11]), rng.normal(size=(8, 3))
    known, regression = SparseRows(csr_array(dense)), AttributeRegression(5, 3, penalty)
    rows = torch.arange(12)
    assert not regression(known, rows).any()

    regression.fit(known, torch.from_numpy(learned), torch.from_numpy(vectors).float())
    b = np.sqrt(dense / np.maximum(dense.sum(1, keepdims=True), 1e-9))
    mean, seen = vectors.mean(0), b[learned]
    w = np.linalg.solve(seen.T @ seen + penalty * np.eye(5), seen.T @ (vectors - mean))
    found = regression(known, rows).numpy()
    np.testing.assert_allclose(found, mean + b @ w, atol=1e-4)
    np.testing.assert_allclose(found[4], mean, atol=1e-6)


def test_a_list_of_many_counts_as_much_as_one_value() -> None:
    """A column of four values and a column of one: the same length, so the same part of what is
    foretold."""
    matrix = np.array([[0.25, 0.25, 0.25, 0.25, 0], [0, 0, 0, 0, 1]], np.float32)
    known, regression = SparseRows(csr_array(matrix)), AttributeRegression(5, 2, 1.0)
    regression.fit(known, torch.arange(2), torch.eye(2))
    found = regression(known, torch.arange(2))
    torch.testing.assert_close(found, found.T)
    assert found[0, 0] > found[0, 1]


def test_without_rows_or_columns_nothing_is_said() -> None:
    known = SparseRows(csr_array((4, 0), dtype=np.float32))
    assert AttributeRegression(0, 3)(known, torch.arange(4)).tolist() == [[0.0] * 3] * 4
    some = SparseRows(csr_array(np.ones((2, 2), np.float32)))
    assert AttributeRegression(2, 3)(some, torch.arange(0)).shape == (0, 3)
