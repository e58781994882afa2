"""Lists without what may not come out, against plain Python."""

from __future__ import annotations

import numpy as np

from tastemap.kernels.left_out import first_allowed, without

RNG = np.random.default_rng(0)
LEFT_OUT = [RNG.integers(0, 20, n) for n in (0, 3, 30)]
OFFSETS = np.cumsum([0, *map(len, LEFT_OUT)])
FLAT = np.concatenate(LEFT_OUT)


def test_the_nearest_come_without_what_is_left_out() -> None:
    near = np.array([RNG.permutation(20)[:12] for _ in LEFT_OUT])
    near[0, 8:] = -1
    products = -np.sort(RNG.random(near.shape), axis=1).astype(np.float32)
    found, scores = without(near, products, OFFSETS, FLAT, 10)
    for row, out in enumerate(LEFT_OUT):
        kept = [place for place, at in enumerate(near[row]) if at >= 0 and at not in out][:10]
        rest = 10 - len(kept)
        assert found[row].tolist() == near[row, kept].tolist() + [-1] * rest
        assert scores[row].tolist() == products[row, kept].tolist() + [-np.inf] * rest


def test_the_first_of_an_order_that_each_may_be_shown() -> None:
    order, allowed = RNG.permutation(20).astype(np.int32), RNG.random(20) < 0.7
    for mask in (None, allowed):
        found = np.zeros((3, 5), np.int32)
        rows = np.array([0, 1])
        first_allowed(order, rows, OFFSETS, FLAT.astype(np.int32), mask, found)
        for row in rows.tolist():
            kept = [
                item
                for item in order.tolist()
                if item not in LEFT_OUT[row] and (mask is None or mask[item])
            ]
            assert found[row].tolist() == kept[:5]
        assert not found[2].any()
