"""Losses against their formulas in numpy, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemap.losses import bpr, mse


def test_mse_is_the_mean_squared_error() -> None:
    predicted, actual = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 4.0, 1.0])
    assert mse(predicted, actual).item() == pytest.approx((0 + 4 + 9) / 3)


def test_bpr_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=4), rng.normal(size=(4, 3))
    expected = np.log1p(np.exp(negative - positive[:, None]))
    got = bpr(torch.from_numpy(positive), torch.from_numpy(negative))
    assert got.item() == pytest.approx(expected.mean())
    mask = rng.random((4, 3)) < 0.5
    got = bpr(torch.from_numpy(positive), torch.from_numpy(negative), torch.from_numpy(mask))
    assert got.item() == pytest.approx(expected[mask].mean())


def test_bpr_without_pairs_is_zero_and_has_a_gradient() -> None:
    positive = torch.tensor([1.0], requires_grad=True)
    negative = torch.tensor([[float("inf")]])
    loss = bpr(positive, negative, torch.tensor([[False]]))
    loss.backward()
    assert loss.item() == 0
    assert positive.grad is not None and positive.grad.item() == 0


def test_bpr_does_not_overflow() -> None:
    loss = bpr(torch.tensor([-1e4, 1e4]), torch.tensor([[1e4], [-1e4]]))
    assert loss.item() == pytest.approx(1e4)


def test_gradients() -> None:
    positive = torch.randn(5, dtype=torch.float64, requires_grad=True)
    negative = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bpr, (positive, negative))
    assert torch.autograd.gradcheck(mse, (positive, torch.zeros(5, dtype=torch.float64)))
