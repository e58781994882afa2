"""Bags of attributes and means of prefixes: as plain sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from tastemap.nn.attribute_bag import AttributeBag, SparseRows
from tastemap.nn.packing import Packing
from tastemap.nn.prefix_means import prefix_means


def test_a_bag_is_a_sparse_product() -> None:
    rng = np.random.default_rng(0)
    dense = (rng.random((7, 5)) * (rng.random((7, 5)) < 0.4)).astype(np.float32)
    dense[3] = 0
    known, bag = SparseRows(csr_array(dense)), AttributeBag(5, 4)
    rows = torch.tensor([3, 0, 6, 6, 3, 1])
    found = bag(known, rows)
    torch.testing.assert_close(found, torch.from_numpy(dense)[rows] @ bag.weight)
    assert known.told(rows).tolist() == (dense[rows.numpy()] != 0).any(1).tolist()
    found.sum().backward()
    expected = torch.from_numpy(dense)[rows].sum(0)[:, None].expand(5, 4)
    torch.testing.assert_close(bag.weight.grad, expected)
    assert not known.state_dict()


def test_without_attributes_all_is_zero() -> None:
    known, bag = SparseRows(csr_array((4, 0), dtype=np.float32)), AttributeBag(0, 3)
    assert bag(known, torch.tensor([0, 3])).tolist() == [[0.0] * 3] * 2
    assert not known.told(torch.arange(4)).any()
    empty = SparseRows(csr_array((4, 2), dtype=np.float32))
    assert AttributeBag(2, 3)(empty, torch.tensor([1, 1])).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("decay", [1.0, 0.8])
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_prefix_means_are_those_of_a_loop(decay: float, lengths: list[int], seed: int) -> None:
    lengths = sorted(lengths, reverse=True)
    x = torch.randn(sum(lengths), 3, generator=torch.Generator().manual_seed(seed))
    expected = []
    for rows in x.split(lengths):
        for t in range(len(rows)):
            weights = torch.tensor([decay ** (t - s) for s in range(t + 1)])
            expected.append((weights[:, None] * rows[: t + 1]).sum(0) / weights.sum())
    found = prefix_means(x, Packing.of(np.array(lengths)), decay)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)
