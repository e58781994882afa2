"""Hashed tables: the mix of bits, how ids spread, signs, and learning in bounded memory."""

from __future__ import annotations

import math

import pytest
import torch

from tastemap.errors import ParameterError
from tastemap.nn.hashed_table import HashedTable, mix


def test_mix_is_the_finalizer_of_splitmix64() -> None:
    mask = (1 << 64) - 1
    ids = [0, 1, 2, 943, (1 << 62) + 5, -1]
    for seed in (0, 1, 77):
        for id_, got in zip(ids, mix(torch.tensor(ids), seed).tolist(), strict=True):
            z = (id_ + (seed + 1) * 0x9E3779B97F4A7C15 % (1 << 63)) & mask
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            assert got & mask == z ^ (z >> 31)


def test_one_bit_of_an_id_changes_half_of_all_bits() -> None:
    ids = torch.arange(2000)
    for bit in (0, 1, 13, 40, 62):
        changed = mix(ids, 0) ^ mix(ids ^ (1 << bit), 0)
        share = sum(((changed >> at) & 1).float().mean() for at in range(64)) / 64
        # 128,000 coin tosses: 5 standard errors are 0.007.
        assert float(share) == pytest.approx(0.5, abs=0.007)


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_ids_in_a_row_spread_evenly(step: int) -> None:
    rows, n = 1000, 100_000
    table = HashedTable(rows, 1, hashes=2)
    places, signs = table.places(torch.arange(n) * step)
    for hash_ in range(2):
        counts = torch.bincount(places[:, hash_], minlength=rows).float()
        # Chi square with 999 degrees of freedom: mean 999, deviation sqrt(1998) = 45.
        chi_square = float(((counts - n / rows) ** 2 / (n / rows)).sum())
        assert abs(chi_square - 999) < 5 * 45
        assert abs(float(signs[:, hash_].mean())) < 5 / math.sqrt(n)
    # The two hashes are independent: they meet in one row as often as chance has it.
    assert float((places[:, 0] == places[:, 1]).float().mean()) == pytest.approx(0.001, abs=5e-4)


def test_pairs_of_ids_collide_as_often_as_chance_has_it() -> None:
    rows, n = 200, 3000
    places, _ = HashedTable(rows, 1, hashes=2).places(torch.arange(n))
    keys = places[:, 0] * rows + places[:, 1]
    pairs = n * (n - 1) / 2
    one = sum(float(c * (c - 1) / 2) for c in torch.bincount(places[:, 0])) / pairs
    both = sum(float(c * (c - 1) / 2) for c in torch.unique(keys, return_counts=True)[1]) / pairs
    assert one == pytest.approx(1 / rows, rel=0.05)
    assert both == pytest.approx(1 / rows**2, rel=0.5)


def test_a_vector_is_the_signed_sum_of_its_rows() -> None:
    table = HashedTable(50, 4, hashes=3, seed=9)
    ids = torch.tensor([[7, 123_456_789_012], [-5, 7]])
    places, signs = table.places(ids)
    expected = sum(signs[..., h, None] * table.weight[places[..., h]] for h in range(3))
    torch.testing.assert_close(table(ids), expected)
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    unsigned = HashedTable(50, 4, hashes=3, signed=False)
    assert (unsigned.places(ids)[1] == 1).all()


def test_signs_keep_dot_products_unbiased() -> None:
    """The dot product of two different ids is 0 on average with signs, and not without them."""
    n, rows = 4000, 20
    means = {}
    for signed in (True, False):
        table = HashedTable(rows, 1, hashes=1, signed=signed, initialize=torch.nn.init.ones_)
        x = table(torch.arange(n))[:, 0].detach()
        means[signed] = float((x[: n // 2] * x[n // 2 :]).mean())
    assert abs(means[True]) < 5 / math.sqrt(n / 2)
    assert means[False] == 1


def test_gradients_hold_only_the_rows_of_the_batch() -> None:
    table = HashedTable(1000, 4)
    ids = torch.tensor([3, 10**15])
    table(ids).sum().backward()
    assert table.weight.grad is not None and table.weight.grad.is_sparse
    touched = table.weight.grad.coalesce().indices()[0].tolist()
    assert touched == sorted(set(table.places(ids)[0].flatten().tolist()))


def test_a_seed_is_another_function() -> None:
    ids = torch.arange(500)
    first, again, other = (HashedTable(1000, 1, seed=s).places(ids)[0] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert float((first == other).float().mean()) < 0.02


def test_bad_sizes_are_refused() -> None:
    for sizes in ((0, 4), (4, 0)):
        with pytest.raises(ParameterError, match="at least 1"):
            HashedTable(*sizes)
    with pytest.raises(ParameterError, match="at least 1"):
        HashedTable(4, 4, hashes=0)
