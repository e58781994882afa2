from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tastemap import Histories
from tastemap.kernels.topk import top_k


@settings(deadline=None)
@given(st.data(), st.integers(1, 12))
def test_top_k_is_the_head_of_a_stable_sort(data: st.DataObject, k: int) -> None:
    n = data.draw(st.integers(2, 20))
    values = st.sampled_from([-np.inf, np.nan, -1.0, 0.0, 0.5, 2.0])
    scores = data.draw(hnp.arrays(np.float32, (3, n), elements=values))
    excluded = data.draw(st.lists(st.lists(st.integers(0, n + 2)), min_size=3, max_size=3))
    allowed = data.draw(hnp.arrays(np.bool_, n))
    items, best = top_k(scores, k, excluded=Histories.from_lists(excluded), allowed=allowed)
    for row in range(3):
        left = [
            item
            for item in range(1, n)
            if allowed[item] and item not in excluded[row] and scores[row, item] > -np.inf
        ]
        expected = sorted(left, key=lambda item: (-scores[row, item], item))[:k]
        assert items[row].tolist() == expected + [0] * (k - len(expected))
        np.testing.assert_array_equal(best[row, : len(expected)], scores[row, expected])
        assert (best[row, len(expected) :] == -np.inf).all()
