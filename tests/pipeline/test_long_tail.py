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


def users_of(candidates: Candidates) -> Any:
    return np.arange(len(candidates), dtype=np.int32)


@given(proposals(), st.floats(0, 1), st.floats(0, 5))
def test_each_query_keeps_its_candidates(
    proposed: tuple[Candidates, Any, Any], share: float, discount: float
) -> None:
    candidates, odds, popularity = proposed
    order = LongTail(share=share, discount=discount).order(
        users_of(candidates), candidates, odds, popularity
    )
    assert sorted(order.tolist()) == list(range(len(odds)))
    np.testing.assert_array_equal(candidates.rows_of_queries()[order], candidates.rows_of_queries())


@given(proposals(), st.floats(0, 5))
def test_a_share_of_none_or_all_is_one_order(
    proposed: tuple[Candidates, Any, Any], discount: float
) -> None:
    candidates, odds, popularity = proposed
    none = LongTail(share=0, discount=discount).order(
        users_of(candidates), candidates, odds, popularity
    )
    np.testing.assert_array_equal(none, best_first(candidates, odds))
    every = LongTail(share=1, discount=discount, chance=0).order(
        users_of(candidates), candidates, odds, popularity
    )
    discounted = odds - np.float32(discount) * popularity
    np.testing.assert_array_equal(every, best_first(candidates, discounted))


def test_some_places_are_for_the_long_tail() -> None:
    n, somebody = 20, np.ones(1, np.int32)
    candidates = Candidates.of_source(
        "any", np.array([0, n]), np.arange(1, n + 1, dtype=np.int32), np.zeros(n, np.float32)
    )
    # The better an item, the more popular it is.
    odds = np.arange(n, 0, -1).astype(np.float32)
    tail = LongTail(share=0.2, discount=3.0, chance=0)
    order = tail.order(somebody, candidates, odds, odds)
    rest = [place for place in range(n) if place % 5 != 4]
    assert order[[4, 9, 14, 19]].tolist() == [19, 18, 17, 16]
    assert order[rest].tolist() == list(range(16))


def test_chance_draws_from_the_softmax_and_stays() -> None:
    n, users = 4, np.arange(20_000, dtype=np.int32)
    candidates = Candidates.of_source(
        "any",
        np.arange(0, n * len(users) + 1, n),
        np.tile(np.arange(1, n + 1, dtype=np.int32), len(users)),
        np.zeros(n * len(users), np.float32),
    )
    odds = np.tile(np.log([8.0, 4.0, 2.0, 1.0]).astype(np.float32), len(users))
    tail, none = LongTail(share=1, discount=0, chance=1), np.zeros_like(odds)
    order = tail.order(users, candidates, odds, none)
    first = np.bincount(order[::n] % n, minlength=n) / len(users)
    np.testing.assert_allclose(first, np.array([8, 4, 2, 1]) / 15, atol=0.015)
    np.testing.assert_array_equal(order, tail.order(users, candidates, odds, none))
    # With the temperature 1/2 it is the softmax of twice the odds.
    colder = LongTail(share=1, discount=0, chance=0.5).order(users, candidates, odds, none)
    first = np.bincount(colder[::n] % n, minlength=n) / len(users)
    np.testing.assert_allclose(first, np.array([64, 16, 4, 1]) / 85, atol=0.015)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match="share"):
        LongTail(share=1.5)
    with pytest.raises(ParameterError, match="discount"):
        LongTail(discount=-1.0)
