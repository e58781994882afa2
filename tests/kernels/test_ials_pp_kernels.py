"""Sweeps of iALS++, and exact solutions in principal axes, against plain numpy."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
import torch
from ridges import problem, systems

from tastemap.kernels.als import half_step, solve_in_axes
from tastemap.kernels.ials_pp import sweep, sweep_torch


def start(given):
    """Vectors of the rows to begin a sweep with."""
    vectors, ridge = given[3], given[5]
    rng = np.random.default_rng(1)
    return rng.standard_normal((len(ridge), vectors.shape[1])).astype(np.float32)


def block_steps(given, before, blocks):
    """Each block of each row in turn to its minimum, the rest held."""
    out = before.astype(np.float64)
    for x, (a, b) in zip(out, systems(*given), strict=True):
        if not b.any():
            x[:] = 0
            continue
        for part in blocks:
            x[part] = np.linalg.solve(
                a[part, part], b[part] - a[part] @ x + a[part, part] @ x[part]
            )
    return out


@pytest.mark.parametrize(
    ("d", "block_size", "width"), [(12, 8, 8), (12, 100, 16), (30, 16, 16), (64, 24, 24), (9, 1, 8)]
)
def test_a_sweep_takes_each_block_to_its_minimum(d, block_size, width):
    given = problem(d=d, longest=200, columns=220)  # longer than a panel
    before = start(given)
    blocks = [slice(left, left + width) for left in range(0, d, width)]
    np.testing.assert_allclose(
        sweep(*given, before, block_size), block_steps(given, before, blocks), atol=2e-4
    )


@pytest.mark.parametrize("block_size", [8, 16])
def test_torch_sweep_equals_numba(block_size, monkeypatch):
    monkeypatch.setattr("tastemap.kernels.ials_pp._TORCH_NUMBERS", 20_000)  # several batches
    offsets, columns, confidences, vectors, gram_matrix, ridge = given = problem(d=40)
    before = start(given)
    swept = sweep_torch(
        offsets,
        columns,
        confidences,
        torch.from_numpy(vectors),
        torch.from_numpy(gram_matrix),
        ridge,
        torch.from_numpy(before),
        block_size,
    )
    np.testing.assert_allclose(swept.numpy(), sweep(*given, before, block_size), atol=5e-5)


def test_sweeps_come_to_the_exact_solution():
    given = problem(d=32)
    x = start(given)
    for _ in range(60):
        x = sweep(*given, x, 8)
    np.testing.assert_allclose(x, half_step(*given), atol=5e-4)


def test_a_sweep_does_not_depend_on_the_batch():
    offsets, columns, confidences, vectors, gram_matrix, ridge = given = problem(d=32)
    before = start(given)
    whole = sweep(*given, before, 16)
    for row in (0, 17, 149):
        span = slice(offsets[row], offsets[row + 1])
        alone = sweep(
            np.array([0, offsets[row + 1] - offsets[row]]),
            columns[span],
            confidences[span],
            vectors,
            gram_matrix,
            ridge[row : row + 1],
            before[row : row + 1],
            16,
        )
        np.testing.assert_array_equal(alone[0], whole[row])


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_a_sweep_does_not_depend_on_the_number_of_threads():
    given = problem(n=400, d=32)
    before = start(given)
    threads = nb.get_num_threads()
    results = []
    try:
        for number in (1, 2):
            nb.set_num_threads(number)
            results.append(sweep(*given, before, 16))
    finally:
        nb.set_num_threads(threads)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("d", [1, 12, 40])
def test_solutions_in_axes_equal_those_of_half_steps(d):
    # With rows of more pairs than d, and of fewer.
    offsets, columns, confidences, vectors, _, ridge = problem(d=d)
    costs = np.random.default_rng(5).uniform(0, 9, d).astype(np.float32)
    np.testing.assert_allclose(
        solve_in_axes(offsets, columns, confidences, vectors, costs, ridge),
        half_step(offsets, columns, confidences, vectors, np.diag(costs), ridge),
        atol=2e-5,
    )
