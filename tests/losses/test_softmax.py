"""The softmax over all items: equal to torch's, in a fraction of its memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from tastemap.losses import softmax


def inputs(
    b: int = 7, n: int = 23, dim: int = 5, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, items, targets and bias."""
    generator = torch.Generator().manual_seed(seed)
    queries, items, bias = (
        torch.randn(shape, generator=generator).to(dtype).requires_grad_()
        for shape in ((b, dim), (n, dim), (n,))
    )
    return queries, items, torch.randint(n, (b,), generator=generator), bias


@pytest.mark.parametrize("tile", [1, 5, 23, 100, None])
@pytest.mark.parametrize("with_bias", [True, False])
def test_it_is_cross_entropy(tile: int | None, with_bias: bool) -> None:
    queries, items, targets, bias = inputs(b=7 if tile else 100_000)
    given_ = [queries, items, *([bias] if with_bias else [])]
    got = softmax(queries, items, targets, bias if with_bias else None, tile=tile)
    # On some processors torch's own sums of as many float32 are off by more than is allowed here.
    exact = [each.detach().double().requires_grad_() for each in given_]
    logits = exact[0] @ exact[1].T + (exact[2] if with_bias else 0)
    expected = cross_entropy(logits, targets)
    torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(got, given_), torch.autograd.grad(expected, exact), strict=True
    ):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-6)


def test_one_target_a_query_with_weights() -> None:
    queries, items, targets, bias = inputs(b=100, dtype=torch.float64)
    weights = torch.linspace(0, 2, 100, dtype=torch.float64).requires_grad_()
    losses = cross_entropy(queries @ items.T + bias, targets, reduction="none")
    expected = (weights * losses).mean()
    got = softmax(queries, items, targets, bias, weights=weights)
    torch.testing.assert_close(got, expected)
    given_ = [queries, items, bias, weights]
    for ours, theirs in zip(
        torch.autograd.grad(3 * got, given_), torch.autograd.grad(3 * expected, given_), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_autocast_multiplies_in_its_type() -> None:
    queries, items, targets, bias = inputs(b=100, n=300)
    expected = cross_entropy(queries @ items.T + bias, targets)
    with torch.autocast("cpu", torch.bfloat16):
        got = softmax(queries, items, targets, bias)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0.01, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(got, [queries, items, bias]),
        torch.autograd.grad(expected, [queries, items, bias]),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_several_targets_of_a_query_with_weights() -> None:
    queries, items, _, bias = inputs()
    rows, targets = torch.tensor([0, 0, 0, 2, 5, 5]), torch.tensor([3, 3, 8, 0, 22, 1])
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 0.0])
    losses = cross_entropy(queries[rows] @ items.T + bias, targets, reduction="none")
    expected = (weights * losses).mean()
    got = softmax(queries, items, targets, bias, rows=rows, weights=weights, tile=6)
    torch.testing.assert_close(got, expected)
    given_ = [queries, items, bias]
    for ours, theirs in zip(
        torch.autograd.grad(got, given_), torch.autograd.grad(expected, given_), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_summed_in_float32() -> None:
    queries, items, targets, bias = inputs(n=300, dtype=torch.bfloat16)
    wide = [part.detach().float().requires_grad_() for part in (queries, items, bias)]
    expected = cross_entropy(wide[0] @ wide[1].T + wide[2], targets)
    got = softmax(queries, items, targets, bias, tile=64)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(got, [queries, items, bias]),
        torch.autograd.grad(expected, wide),
        strict=True,
    ):
        assert ours.dtype == torch.bfloat16
        # What is left is the rounding to 8 bits.
        torch.testing.assert_close(ours.float(), theirs, rtol=0.004, atol=1e-5)


def test_gradcheck() -> None:
    queries, items, targets, bias = inputs(b=3, n=5, dim=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda q, v, c: softmax(q, v, targets, c, tile=2), (queries, items, bias)
    )
    assert torch.autograd.gradcheck(
        lambda q, c: softmax(q, items.detach(), targets, c, tile=9), (queries, bias)
    )


@given(st.floats(-300, 300), st.integers(0, 20))
def test_a_shift_of_all_scores_changes_nothing(shift: float, seed: int) -> None:
    queries, items, targets, bias = inputs(dtype=torch.float64, seed=seed)
    moved = softmax(queries, items, targets, bias + shift, tile=4)
    torch.testing.assert_close(moved, softmax(queries, items, targets, bias, tile=4))


@given(st.permutations(range(23)))
def test_the_order_of_items_does_not_matter(order: list[int]) -> None:
    queries, items, targets, bias = inputs(dtype=torch.float64)
    place = torch.tensor(np.argsort(order))
    moved = softmax(queries, items[order], place[targets], bias[order], tile=7)
    torch.testing.assert_close(moved, softmax(queries, items, targets, bias, tile=7))


def test_scores_far_apart_do_not_overflow() -> None:
    queries, items = torch.tensor([[1.0]]), torch.tensor([[-3e4], [3e4], [0.0]])
    for tile in (1, None):
        loss = softmax(queries, items, torch.tensor([0]), tile=tile)
        assert loss.item() == pytest.approx(6e4)


def test_a_bias_of_minus_infinity_rules_an_item_out() -> None:
    queries, items, _, bias = inputs()
    ruled_out = bias.detach().clone()
    ruled_out[:3] = -torch.inf
    kept = cross_entropy((queries @ items.T + bias)[:, 3:], torch.full((7,), 6))
    for tile in (2, None):
        got = softmax(queries, items, torch.full((7,), 9), ruled_out, tile=tile)
        torch.testing.assert_close(got, kept)
        (gradient,) = torch.autograd.grad(got, items)
        assert gradient.isfinite().all() and not gradient[:3].any()


def peak_bytes(run: Callable[[], None]) -> int:
    """The most that torch held at a time, beyond what it held before, while `run` ran."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    held = peak = 0
    changes = [
        (event.start_ns(), event.nbytes())
        for event in recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.name() == "[memory]"
    ]
    for _, change in sorted(changes):
        held += change
        peak = max(peak, held)
    return peak


def test_peak_memory_of_few_queries_at_a_time() -> None:
    b, n, dim = 1024, 50_000, 8
    queries, items, targets, bias = inputs(b, n, dim)

    def run() -> None:
        softmax(queries, items, targets, bias).backward()

    a_tile, gradients = 16 << 20, 4 * (n + b) * (dim + 1)
    assert peak_bytes(run) < 3 * a_tile + 3 * gradients < 4 * b * n / 3


def test_peak_memory_is_a_tile_and_not_batch_times_items() -> None:
    b, n, dim, tile = 256, 20_000, 8, 512
    queries, items, targets, bias = inputs(b, n, dim)

    def tiled() -> None:
        softmax(queries, items, targets, bias, tile=tile).backward()

    def whole() -> None:
        cross_entropy(queries @ items.T + bias, targets).backward()

    all_scores, one_tile, gradients = 4 * b * n, 4 * b * tile, 4 * (n + b) * (dim + 1)
    assert peak_bytes(whole) > 2 * all_scores
    assert peak_bytes(tiled) < 3 * one_tile + 2 * gradients < all_scores / 5
