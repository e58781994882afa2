"""Places of a list that are kept for what few people take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemap.data.candidates import Candidates
from tastemap.errors import ParameterError
from tastemap.pipeline.long_tail import LongTail, best_first


@st.composite
def proposals(draw: st.DrawFn) -> tuple[Candidates, Any, Any]:
    """Candidates of some queries, their odds and the logarithms of their popularity."""
    counts = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    m = sum(counts)
    numbers = st.lists(st.integers(-3, 3), min_size=m, max_size=m)
    items = [item for n in counts for item in range(1, n + 1)]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    scores = np.zeros(m, np.float32)
    candidates = Candidates.of_source("any", offsets, np.array(items, np.int32), scores)
    return candidates, *(np.array(draw(numbers), np.float32) for _ in range(2))


@given(proposals(), st.floats(0, 1), st.floats(0, 5))
def test_each_query_keeps_its_candidates(
    proposed: tuple[Candidates, Any, Any], share: float, discount: float
) -> None:
    candidates, odds, popularity = proposed
    order = LongTail(share=share, discount=discount).order(candidates, odds, popularity)
    assert sorted(order.tolist()) == list(range(len(odds)))
    np.testing.assert_array_equal(candidates.rows_of_queries()[order], candidates.rows_of_queries())


@given(proposals(), st.floats(0, 5))
def test_a_share_of_none_or_all_is_one_order(
    proposed: tuple[Candidates, Any, Any], discount: float
) -> None:
    candidates, odds, popularity = proposed
    none = LongTail(share=0, discount=discount).order(candidates, odds, popularity)
    np.testing.assert_array_equal(none, best_first(candidates, odds))
    every = LongTail(share=1, discount=discount).order(candidates, odds, popularity)
    discounted = odds - np.float32(discount) * popularity
    np.testing.assert_array_equal(every, best_first(candidates, discounted))


def test_every_fifth_place_is_for_the_long_tail() -> None:
    n = 20
    candidates = Candidates.of_source(
        "any", np.array([0, n]), np.arange(1, n + 1, dtype=np.int32), np.zeros(n, np.float32)
    )
    # The better an item, the more popular it is.
    odds = np.arange(n, 0, -1).astype(np.float32)
    order = LongTail(share=0.2, discount=3.0).order(candidates, odds, odds)
    rest = [place for place in range(n) if place % 5 != 4]
    assert order[[4, 9, 14, 19]].tolist() == [19, 18, 17, 16]
    assert order[rest].tolist() == list(range(16))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="share"):
        LongTail(share=1.5)
    with pytest.raises(ParameterError, match="discount"):
        LongTail(discount=-1.0)
