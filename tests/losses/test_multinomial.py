"""The tiled multinomial likelihood against the dense formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from tastemap.losses.multinomial import multinomial

ROWS, ITEMS, DIM = 7, 150, 5


def sparse_rows(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of 0 to 20 entries, the third one empty: offsets, columns, values."""
    lengths = rng.integers(1, 20, ROWS)
    lengths[2] = 0
    columns = np.concatenate([rng.choice(ITEMS, n, replace=False) for n in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.random(len(columns)).astype(np.float32)
    return torch.from_numpy(offsets), torch.from_numpy(columns), torch.from_numpy(values)


def layer(rng: np.random.Generator) -> list[torch.Tensor]:
    """h, W and b, with logits far enough apart to matter."""
    shapes = ((ROWS, DIM), (ITEMS, DIM), (ITEMS,))
    return [
        torch.from_numpy(rng.normal(0, 2, s).astype(np.float32)).requires_grad_() for s in shapes
    ]


def dense_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    offsets, columns, values = (part.numpy() for part in rows)
    x = torch.from_numpy(csr_array((values, columns, offsets), shape=(ROWS, ITEMS)).toarray())
    return -(x * torch.log_softmax(hidden @ weight.T + bias, 1)).sum(1).mean()


@pytest.mark.parametrize("rows_a_tile", [1, 3, 100])
def test_loss_and_gradients_are_those_of_the_dense_formula(rows_a_tile: int) -> None:
    rng = np.random.default_rng(0)
    rows, parts = sparse_rows(rng), layer(rng)
    expected = dense_loss(*parts, rows)
    wanted = torch.autograd.grad(3 * expected, parts)
    got = multinomial(*parts, *rows, tile_bytes=rows_a_tile * 4 * ITEMS)
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for gradient, right in zip(torch.autograd.grad(3 * got, parts), wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-5)


def test_only_the_gradients_asked_for_are_made() -> None:
    rng = np.random.default_rng(1)
    rows, (hidden, weight, bias) = sparse_rows(rng), layer(rng)
    frozen = multinomial(hidden, weight.detach(), bias.detach(), *rows)
    (by_hidden,) = torch.autograd.grad(frozen, [hidden])
    both = torch.autograd.grad(multinomial(hidden, weight, bias, *rows), [hidden, weight, bias])
    torch.testing.assert_close(by_hidden, both[0])
    fixed = multinomial(hidden.detach(), weight, bias, *rows)
    for gradient, right in zip(torch.autograd.grad(fixed, [weight, bias]), both[1:], strict=True):
        torch.testing.assert_close(gradient, right)


def test_large_logits_neither_overflow_nor_lose_the_likelihood() -> None:
    hidden, bias = torch.tensor([[1.0]]), torch.zeros(3)
    weight = torch.tensor([[500.0], [-500.0], [0.0]])
    rows = torch.tensor([0, 1]), torch.tensor([1]), torch.tensor([2.0])
    assert multinomial(hidden, weight, bias, *rows).item() == pytest.approx(2000.0)


def test_inside_autocast_the_gradients_stay_close() -> None:
    rng = np.random.default_rng(2)
    rows, parts = sparse_rows(rng), layer(rng)
    expected = torch.autograd.grad(dense_loss(*parts, rows), parts)
    with torch.autocast("cpu", torch.bfloat16):
        loss = multinomial(*parts, *rows)
    assert loss.dtype == torch.float32
    for gradient, right in zip(torch.autograd.grad(loss, parts), expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - right).norm() < 0.03 * right.norm()
