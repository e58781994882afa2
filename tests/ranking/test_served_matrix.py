"""A matrix of bytes is the matrix, as far as bytes can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers
from numpy.typing import NDArray

from tastemap.kernels.quantization import Product, quantized, quantized_16, rectified
from tastemap.ranking.parts import served_matrix
from tastemap.ranking.parts.served_matrix import ServedMatrix


def value(product: Product) -> NDArray[np.float64]:
    sums, of_rows, of_columns = product
    return sums * of_rows[:, None].astype(np.float64) * of_columns


@given(
    rows=integers(0, 9),
    width=integers(0, 40),
    columns=integers(1, 9),
    size=floats(1e-20, 1e20),
    seed=integers(0, 99),
)
def test_products_are_off_by_no_more_than_the_rounding(
    rows: int, width: int, columns: int, size: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, width)) * size).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = 0
    w = rng.normal(size=(width, columns)).astype(np.float32)
    expected = x.astype(np.float64) @ w
    step_x = np.abs(x).max(1, initial=0)[:, None] / 127
    step_w = np.abs(w).max(0, initial=0)[None] / 127
    # Each factor is off by half a step.
    most = np.abs(x).sum(1)[:, None] * step_w / 2 + np.abs(w).sum(0)[None] * step_x / 2
    most += width * step_x * step_w / 4
    found = value(ServedMatrix(w.T)(x))
    assert (np.abs(found - expected) <= most * (1 + 1e-5)).all()
    whole = value(ServedMatrix(w.T, exact=True)(x))
    np.testing.assert_allclose(whole, expected, atol=1e-5 * size * max(width, 1))


def test_rows_are_shares_of_their_greatest_number() -> None:
    x = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [-1e-30, 0.0, 1e-30]], np.float32)
    found, scales = quantized(x)
    assert found.tolist() == [[0, 0, 0], [64, -127, 32], [-127, 0, 127]]
    np.testing.assert_allclose(scales, [0, 2 / 127, 1e-30 / 127], rtol=1e-6)


@given(size=floats(1e-25, 1e30), seed=integers(0, 99))
def test_16_bits_are_off_by_half_a_share_at_most(size: float, seed: int) -> None:
    x = (np.random.default_rng(seed).normal(size=(3, 20)) * size).astype(np.float32)
    found, scales = quantized_16(x)
    assert found.dtype == np.int16
    off = np.abs(value(Product(found, scales, np.ones(20, np.float32))) - x)
    assert (off <= np.abs(x).max(1)[:, None] / 32_767 * 0.51).all()


def test_rows_too_small_to_divide_by_are_nothing() -> None:
    x = np.array([[1e-40, 0.0, -3e-39], [0.0, 1.0, -1.0]], np.float32)
    for found, scales in (quantized(x), quantized_16(x)):
        assert not found[0].any()
        np.testing.assert_allclose(found[1] * scales[1], x[1])


def test_what_is_below_nothing_is_nothing() -> None:
    product = ServedMatrix(np.eye(2, dtype=np.float32))(np.array([[3, -3]], np.float32))
    found = rectified(product, np.array([-1, 1], np.float32))
    np.testing.assert_allclose(found, [[2, 0]], rtol=1e-6)


def test_without_units_for_bytes_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_matrix, "has_byte_units", lambda: False)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(value(ServedMatrix(w.T)(x)), x @ w, atol=1e-5)
