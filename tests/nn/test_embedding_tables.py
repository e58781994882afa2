"""Tables of embeddings: lookups, first values, sizes."""

from __future__ import annotations

import math

import pytest
import torch

from tastemap.errors import ParameterError
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.initializers import normal_, uniform_, xavier_
from tastemap.nn.sizes import fastai_dim, fourth_root_dim


def test_a_lookup_gives_rows_and_the_unknown_is_zero() -> None:
    table = EmbeddingTable(5, 3)
    rows = torch.tensor([[1, 4], [0, 1]])
    found = table(rows)
    assert found.shape == (2, 2, 3)
    torch.testing.assert_close(found[0, 1], table.weight[4])
    assert not found[1, 0].any()


def test_sparse_and_dense_gradients_are_equal_and_leave_the_unknown() -> None:
    torch.manual_seed(0)
    sparse, dense = EmbeddingTable(6, 3), EmbeddingTable(6, 3, sparse=False)
    dense.load_state_dict(sparse.state_dict())
    rows, wanted = torch.tensor([3, 1, 3, 0]), torch.randn(4, 3)
    for table in (sparse, dense):
        (table(rows) * wanted).sum().backward()
    assert sparse.weight.grad is not None and dense.weight.grad is not None
    assert sparse.weight.grad.is_sparse and not dense.weight.grad.is_sparse
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    assert dense(torch.empty(2, 0, dtype=torch.long)).shape == (2, 0, 3)
    expected = torch.zeros(6, 3)
    expected[1], expected[3] = wanted[1], wanted[0] + wanted[2]
    torch.testing.assert_close(dense.weight.grad, expected)


def test_weighted_sums_and_their_gradients_are_equal_however_they_are_made() -> None:
    torch.manual_seed(0)
    sparse, dense = EmbeddingTable(6, 3), EmbeddingTable(6, 3, sparse=False)
    dense.load_state_dict(sparse.state_dict())
    # The second sum is over nothing, and row 4 is in two of them.
    offsets, rows = torch.tensor([0, 3, 3, 5]), torch.tensor([1, 4, 1, 4, 5])
    weights, wanted = torch.rand(5), torch.randn(3, 3)
    of_weights = []
    for table, asked in ((sparse, weights), (dense, weights), (dense, weights.requires_grad_())):
        sums = table.bags(offsets, rows, asked)
        torch.testing.assert_close(sums[0], weights[:3] @ table.weight[rows[:3]])
        assert not sums[1].any()
        table.weight.grad = None
        (sums * wanted).sum().backward()
        assert table.weight.grad is not None
        of_weights.append(table.weight.grad.to_dense())
    torch.testing.assert_close(of_weights[0], of_weights[1])
    torch.testing.assert_close(of_weights[0], of_weights[2])
    torch.testing.assert_close(of_weights[1][4], weights[1] * wanted[0] + weights[3] * wanted[2])


@pytest.mark.parametrize(
    ("initialize", "deviation", "largest"),
    [
        (uniform_, 0.05 / math.sqrt(3), 0.05),
        (lambda t: uniform_(t, 0.2), 0.2 / math.sqrt(3), 0.2),
        (normal_, 0.01, 0.07),
        (xavier_, math.sqrt(2 / 1064), math.sqrt(6 / 1064)),
    ],
)
def test_first_values(initialize, deviation: float, largest: float) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    values = EmbeddingTable(1000, 64, initialize=initialize).weight.detach()
    assert not values[0].any()
    # 63,936 draws: the mean is within 5 standard errors, the deviation within 2 %.
    assert abs(float(values[1:].mean())) < 5 * deviation / math.sqrt(values[1:].numel())
    assert float(values[1:].std()) == pytest.approx(deviation, rel=0.02)
    assert float(values.abs().max()) <= largest


def test_a_generator_decides_the_first_values() -> None:
    first, second = (
        normal_(torch.empty(4, 2), generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("n", "fastai", "fourth"), [(1, 2, 1), (10, 6, 2), (1000, 77, 6), (10_000_000, 600, 56)]
)
def test_sizes_by_rule(n: int, fastai: int, fourth: int) -> None:
    assert fastai_dim(n) == fastai
    assert fourth_root_dim(n) == fourth


def test_sizes_by_rule_have_bounds() -> None:
    assert fourth_root_dim(10_000, multiple=6) == 60
    for rule in (fastai_dim, fourth_root_dim):
        with pytest.raises(ParameterError, match="at least 1"):
            rule(0)
    with pytest.raises(ParameterError, match="multiple"):
        fourth_root_dim(10, multiple=0)
