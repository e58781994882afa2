"""A layer of HSTU: the published formula, whatever the batch, and nothing of the future."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tastemap.nn.packing import Packing
from tastemap.nn.pointwise_attention import TransductionUnit
from tastemap.nn.relative_bias import RelativeBias, time_gaps

DIM, HEADS, HEAD_DIM, PLACES = 8, 2, 3, 20
LENGTHS = st.lists(st.integers(1, PLACES), min_size=1, max_size=6).map(
    lambda lengths: sorted(lengths, reverse=True)
)


def unit(timed: bool = True) -> TransductionUnit:
    torch.manual_seed(5)
    made = TransductionUnit(DIM, HEADS, HEAD_DIM, RelativeBias(PLACES, timed), PLACES, 0.0)
    # Larger than at the start of a training, so that each part tells.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def sequences(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, Packing]:
    """Random positions, times with gaps from 0 seconds to years, and their packing."""
    rng = np.random.default_rng(sum(lengths))
    x = torch.from_numpy(rng.normal(size=(sum(lengths), DIM)).astype(np.float32))
    gaps = np.rint(np.exp(rng.uniform(-2, 18, sum(lengths))))
    times = np.concatenate([1e9 + np.cumsum(g) for g in np.split(gaps, np.cumsum(lengths)[:-1])])
    return x, torch.from_numpy(times), Packing.of(np.array(lengths))


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def normed(x: NDArray[Any]) -> NDArray[Any]:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6)


def plain(layer: TransductionUnit, x: NDArray[Any], times: NDArray[Any]) -> NDArray[Any]:
    """Equations 1 to 3 for one sequence, a number after the other."""
    inner, outer = layer.inner.weight.detach().numpy(), layer.outer.weight.detach().numpy()
    of_places = layer.bias.of_places.detach().numpy()
    of_times = None if layer.bias.of_times is None else layer.bias.of_times.detach().numpy()
    uvqk = [[silu(number) for number in inner @ normed(row)] for row in x]
    u, v, q, k = np.array(uvqk).reshape(len(x), 4, HEADS, HEAD_DIM).transpose(1, 0, 2, 3)
    y = np.empty_like(x)
    for i in range(len(x)):
        gathered = np.zeros((HEADS, HEAD_DIM))
        for j in range(i + 1):
            bias = of_places[i - j]
            if of_times is not None:
                gap = max(abs(times[i] - times[j]), 1.0)
                bias += of_times[min(int(math.log(gap) / 0.301), 128)]
            for h in range(HEADS):
                gathered[h] += silu(q[i, h] @ k[j, h] + bias) / PLACES * v[j, h]
        gated = normed(gathered.reshape(-1)) * u[i].reshape(-1)
        y[i] = x[i] + outer @ gated + layer.outer.bias.detach().numpy()
    return y


@pytest.mark.parametrize("timed", [True, False])
def test_a_layer_is_the_published_one(timed: bool) -> None:
    lengths = [20, 13, 13, 6, 1]
    x, times, packing = sequences(lengths)
    layer = unit(timed)
    expected = [
        plain(layer, part.numpy(), at.numpy())
        for part, at in zip(x.split(lengths), times.split(lengths), strict=True)
    ]
    found = layer(x, packing, time_gaps(times, packing)).detach().numpy()
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-5)


@given(LENGTHS)
def test_sequences_together_give_what_each_gives_alone(lengths: list[int]) -> None:
    x, times, packing = sequences(lengths)
    layer = unit().requires_grad_(False)
    together = layer(x, packing, time_gaps(times, packing))
    for part, at, expected in zip(
        x.split(lengths), times.split(lengths), together.split(lengths), strict=True
    ):
        alone = Packing.of(np.array([len(part)]))
        found = layer(part, alone, time_gaps(at, alone))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_comes_later_changes_nothing_and_gets_no_gradient() -> None:
    x, times, packing = sequences([12])
    layer = unit()
    x.requires_grad_()
    y = layer(x, packing, time_gaps(times, packing))
    y[:7].sum().backward()
    assert x.grad is not None
    assert x.grad[:7].any(1).all() and not x.grad[7:].any()
    changed, later = x.detach().clone(), times.clone()
    changed[7:] += 1.0
    later[7:] += 1e6
    found = layer(changed, packing, time_gaps(later, packing))
    torch.testing.assert_close(found[:7], y[:7])
    assert not torch.allclose(found[7:], y[7:])


def test_only_gaps_of_time_count() -> None:
    _, times, packing = sequences([9, 5])
    for here, there in zip(
        time_gaps(times, packing), time_gaps(times + 86_400, packing), strict=True
    ):
        assert here.dtype == torch.int32
        torch.testing.assert_close(here, there)


def test_buckets_are_logarithmic_and_end() -> None:
    times = torch.tensor([0.0, 0.5, 2.0, 10.0, 86_400.0, 2e9, 1e30], dtype=torch.float64)
    packing = Packing.of(np.array([len(times)]))
    (found,) = time_gaps(times, packing)
    assert found[0, :, 0].tolist() == [0, 0, 2, 7, 37, 71, 128]
    assert (found == found.mT).all()


def test_without_times_the_bias_is_of_places_alone() -> None:
    bias = RelativeBias(PLACES, timed=False)
    one, other = (bias(torch.full((2, 5, 5), bucket, dtype=torch.int32)) for bucket in (0, 30))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one.diagonal(-2), bias.of_places[2].expand(3))
