"""Dropout: the share, the scale, the stream of random numbers, and nothing in answers."""

from __future__ import annotations

import pytest
import torch

from tastemap.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 503).requires_grad_()
    y = Dropout(rate)(x)
    n = x.numel()
    deviation = (rate * (1 - rate) / n) ** 0.5
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=4 * deviation + 2**-16)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, y)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(4096, 8)) == 0).double()
    covariance = torch.corrcoef(dropped.T) - torch.eye(8)
    assert covariance.abs().max() < 5 / 4096**0.5


def test_a_seed_gives_the_same_and_answers_have_none() -> None:
    layer, x = Dropout(0.3), torch.randn(10, 10)
    torch.manual_seed(5)
    first, second = layer(x), layer(x)
    torch.manual_seed(5)
    torch.testing.assert_close(layer(x), first)
    assert not torch.equal(first, second)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert layer.train()(x.bfloat16()).dtype == torch.bfloat16
