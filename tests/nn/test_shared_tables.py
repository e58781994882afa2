"""Tables that the values of several features share: who gets which rows, unknown values, bags."""

from __future__ import annotations

import pytest
import torch

from tastemap.errors import ParameterError
from tastemap.nn.shared_tables import HashedTables, MultiplexedTable, SharedTable

SIZES = (3, 500, 20, 900)
VALUES = torch.arange(1, sum(SIZES) + 1)
OWNERS = torch.repeat_interleave(torch.tensor(SIZES))


def hashed(rows: int = 123) -> HashedTables:
    return HashedTables(SIZES, rows, 4, sparse=False, initialize=torch.nn.init.normal_)


def multiplexed(rows: int = 500) -> MultiplexedTable:
    return MultiplexedTable(rows, 4, 2, sparse=False, initialize=torch.nn.init.normal_)


def test_small_features_have_a_row_for_each_value_and_large_ones_share_the_rest() -> None:
    table = hashed()
    assert table.table.weight.shape == (124, 4)
    rows = table.places(VALUES).squeeze(-1)
    for feature, size in enumerate((3, 50, 20, 50)):
        own = rows[OWNERS.eq(feature)]
        assert len(own.unique()) == size
        assert own.max() - own.min() == size - 1
    assert rows.min() == 1
    assert rows.max() == 123
    with pytest.raises(ParameterError, match="4 features need"):
        hashed(3)
    enough = hashed(10_000)
    assert torch.equal(enough.places(VALUES).squeeze(-1), VALUES)


def test_multiplexed_values_spread_over_all_rows_whatever_their_feature() -> None:
    table = multiplexed()
    assert table.table.weight.shape == (1001, 2)
    rows = table.places(VALUES)
    assert rows.min() == 1
    assert rows.max() == 1000
    # Of 2 × 1423 draws from 1000 rows, 1000 (1 - e^-2.846) = 942 are expected to be hit.
    assert 915 < len(rows.unique()) < 970
    assert len(rows.unique(dim=0)) > 1420
    vectors = table(VALUES)
    torch.testing.assert_close(vectors[:, :2], table.table.weight[rows[:, 0]])
    torch.testing.assert_close(vectors[:, 2:], table.table.weight[rows[:, 1]])
    with pytest.raises(ParameterError, match="multiple of lookups"):
        MultiplexedTable(10, 4, 3)


@pytest.mark.parametrize("make", [hashed, multiplexed])
def test_unknown_values_are_0_and_bags_are_weighted_sums(make: type[SharedTable]) -> None:
    table = make()
    vectors = table(torch.tensor([[0, 7], [900, 0]]))
    assert vectors.shape == (2, 2, 4)
    assert not vectors[0, 0].any() and not vectors[1, 1].any()
    vectors.sum().backward()
    gradient = table.table.weight.grad
    assert gradient is not None and not gradient[0].any()
    values = torch.tensor([5, 1423, 700, 5])
    weights = torch.tensor([0.5, 0.5, 2.0, 1.0])
    bags = table.bags(torch.tensor([0, 2, 2, 4]), values, weights)
    parts = table(values) * weights[:, None]
    expected = torch.stack([parts[:2].sum(0), torch.zeros(4), parts[2:].sum(0)])
    torch.testing.assert_close(bags, expected)
