"""Encodings of numbers against their formulas."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.tree import DecisionTreeRegressor

from tastemap.nn.numbers import NumberVectors, ScaledNumbers
from tastemap.nn.periodic import Periodic
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.nn.target_bins import TargetPiecewiseLinear, tree_edges

NUMBERS = torch.tensor(np.random.default_rng(0).gamma(2.0, 3.0, (400, 2)), dtype=torch.float32)


def test_bins_hold_about_as_many_rows_and_fill_one_after_the_other() -> None:
    encoding = PiecewiseLinear(2, 3, bins=5)
    encoding.look_at(NUMBERS)
    edges = np.quantile(NUMBERS[:, 1].numpy(), np.linspace(0, 1, 6))
    np.testing.assert_allclose(encoding.left[1].numpy(), edges[:-1], atol=0.1)
    left = encoding.left[1].double().numpy()
    right = left + encoding.width[1].double().numpy()
    np.testing.assert_allclose(left[1:], right[:-1], rtol=1e-6)
    encoded = encoding.encoded(NUMBERS)[:, 1].numpy()
    for x, parts in zip(NUMBERS[:, 1].tolist(), encoded, strict=True):
        expected = [min(max((x - a) / (b - a), 0), 1) for a, b in zip(left, right, strict=True)]
        np.testing.assert_allclose(parts, expected, atol=1e-5)


def test_equal_quantiles_make_one_bin_and_a_constant_none() -> None:
    encoding = PiecewiseLinear(2, 3, bins=4)
    encoding.look_at(torch.tensor([[0.0, 7.0]] * 90 + [[1.0, 7.0]] * 9 + [[math.nan, math.nan]]))
    assert encoding.encoded(torch.tensor([[0.25, 7.0], [9.0, 8.0]])).tolist() == [
        [[0.25, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 0, 0, 0], [0, 0, 0, 0]],
    ]


def test_bins_by_target_are_the_leaves_of_scikit_learns_tree() -> None:
    rng = np.random.default_rng(1)
    numbers = np.sort(np.round(rng.gamma(2.0, 3.0, 3000), 2).astype(np.float32))
    labels = (rng.random(3000) < 0.5 + 0.4 * np.sin(numbers)).astype(np.float32)
    for leaves in (2, 5, 12):
        tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=40, random_state=0)
        inner = tree.fit(numbers[:, None], labels).tree_
        expected = np.sort(inner.threshold[inner.feature == 0])
        edges = tree_edges(numbers, labels, leaves, 40)
        assert (edges[0], edges[-1]) == (numbers[0], numbers[-1])
        np.testing.assert_allclose(edges[1:-1], expected, atol=1e-6)
    assert tree_edges(numbers, np.ones(3000, np.float32), 8, 40).tolist() == [
        numbers[0],
        numbers[-1],
    ]


def test_the_target_encoding_sorts_labels_with_its_numbers() -> None:
    rng = np.random.default_rng(0)
    numbers = torch.from_numpy(rng.random((2000, 2)).astype(np.float32))
    numbers[::7, 0] = math.nan
    labels = (numbers[:, 1] > 0.3).float()
    encoding = TargetPiecewiseLinear(2, 3, bins=2)
    encoding.look_at(numbers, labels)
    second = encoding.left[1]
    assert abs(second[1].item() - 0.3) < 0.005
    known = numbers[:, 0][~numbers[:, 0].isnan()]
    assert encoding.left[0, 0] == known.min()


def test_periods_are_sines_and_cosines_of_the_scaled_number() -> None:
    torch.manual_seed(1)
    encoding = Periodic(2, 3, frequencies=4, deviation=0.5)
    encoding.look_at(NUMBERS)
    scaled = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0, correction=0)
    angles = 2 * math.pi * scaled[:, :, None] * encoding.frequencies
    expected = torch.cat([angles.sin(), angles.cos()], 2)
    np.testing.assert_allclose(
        encoding.encoded(NUMBERS).detach(), expected.detach(), atol=2e-5, rtol=1e-4
    )
    vectors = encoding(NUMBERS)
    assert vectors.shape == (400, 2, 3)
    linear = torch.einsum("bnp,npd->bnd", expected, encoding.weight) + encoding.bias
    np.testing.assert_allclose(vectors.detach(), linear.relu().detach(), atol=1e-4)
    vectors.sum().backward()
    assert encoding.frequencies.grad is not None
    assert encoding.frequencies.grad.abs().sum() > 0


def test_a_missing_number_has_a_vector_of_its_own_that_learns() -> None:
    for encoding in (ScaledNumbers(2, 3), PiecewiseLinear(2, 3, 4), Periodic(2, 3, 4, 0.1)):
        assert isinstance(encoding, NumberVectors)
        encoding.look_at(torch.cat([NUMBERS, torch.full((5, 2), math.nan)]))
        torch.nn.init.normal_(encoding.missing)
        vectors = encoding(torch.tensor([[math.nan, 1.0], [2.0, math.nan]]))
        assert torch.equal(vectors[0, 0], encoding.missing[0])
        assert torch.equal(vectors[1, 1], encoding.missing[1])
        vectors.sum().backward()
        for parameter in encoding.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
        assert encoding.missing.grad is not None
        assert encoding.missing.grad.eq(1).all()


def test_a_column_that_is_always_missing_or_constant_is_no_error() -> None:
    for encoding in (ScaledNumbers(2, 3), PiecewiseLinear(2, 3, 4), Periodic(2, 3, 4, 0.1)):
        encoding.look_at(torch.tensor([[math.nan, 5.0]] * 10))
        assert encoding(torch.tensor([[1.0, 5.0], [math.nan, 6.0]])).isfinite().all()
