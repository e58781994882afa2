"""Half-steps of ALS against plain numpy, and what is promised of them."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
import torch
from ridges import problem, systems

from tastemap.kernels.als import gram, half_step, half_step_torch


def reference(*given):
    return [np.linalg.solve(a, b) for a, b in systems(*given)]


@pytest.mark.parametrize("d", [1, 3, 4, 12, 30, 64])
def test_half_step_equals_numpy(d):
    given = problem(d=d)
    np.testing.assert_allclose(half_step(*given), reference(*given), atol=2e-5)


@pytest.mark.parametrize("d", [1, 12, 30])
def test_torch_half_step_equals_numba(d, monkeypatch):
    monkeypatch.setattr("tastemap.kernels.als._TORCH_NUMBERS", 20_000)  # several batches
    offsets, columns, confidences, vectors, gram_matrix, ridge = given = problem(d=d)
    solved = half_step_torch(
        offsets,
        columns,
        confidences,
        torch.from_numpy(vectors),
        torch.from_numpy(gram_matrix),
        ridge,
    )
    np.testing.assert_allclose(solved.numpy(), half_step(*given), atol=2e-5)


def test_row_without_pairs_is_zero():
    assert not half_step(*problem())[3].any()


def test_does_not_depend_on_the_batch():
    offsets, columns, confidences, vectors, gram_matrix, ridge = given = problem()
    whole = half_step(*given)
    for row in (0, 17, 149):
        span = slice(offsets[row], offsets[row + 1])
        alone = half_step(
            np.array([0, offsets[row + 1] - offsets[row]]),
            columns[span],
            confidences[span],
            vectors,
            gram_matrix,
            ridge[row : row + 1],
        )
        np.testing.assert_array_equal(alone[0], whole[row])


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_does_not_depend_on_the_number_of_threads():
    given = problem(n=600, d=32)
    tall = np.random.default_rng(1).standard_normal((5000, 24)).astype(np.float32)
    before = nb.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            nb.set_num_threads(threads)
            results.append((half_step(*given), gram(tall)))
    finally:
        nb.set_num_threads(before)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1024, 8), (3001, 18)])
def test_gram_equals_numpy(shape):
    vectors = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    expected = vectors.astype(np.float64).T @ vectors
    np.testing.assert_allclose(gram(vectors), expected, rtol=1e-5, atol=1e-2)
    np.testing.assert_array_equal(gram(vectors), gram(vectors).T)


def test_nearly_singular_systems_stay_finite():
    offsets, columns, confidences, vectors, _, ridge = problem(d=16)
    vectors[:] = vectors[:1] * 100
    tiny = np.full_like(ridge, 1e-6)
    solved = half_step(offsets, columns, confidences, vectors, gram(vectors), tiny)
    assert np.isfinite(solved).all()
