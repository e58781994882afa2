"""What is popular joins in where a history is short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.pipeline.arranging import Answers
from tastemap.pipeline.short_histories import RRF, ShortHistories


@pytest.fixture(scope="module")
def knn(liked_movies: tm.Dataset) -> tm.ItemKNN:
    return tm.ItemKNN().fit(liked_movies)


def queries_of(data: tm.Dataset, n: int) -> Queries:
    """The first n events of three users."""
    histories = data.histories.take([1, 13, 42])
    start = histories.offsets[:-1]
    return Queries.of(histories.parts(start, start + n))


def test_the_fewer_events_the_more_of_what_is_popular(knn: tm.ItemKNN) -> None:
    pipeline = tm.Pipeline([knn])
    popular = pipeline.answer(Queries.of(Histories.empty(1)), 50).items
    gained = []
    for n in (1, 3, 10, 25):
        found, alone = (
            pipeline.answer(queries_of(knn.data, n), 10),
            knn.answer(queries_of(knn.data, n), 10),
        )
        assert np.diff(found.offsets).tolist() == [10, 10, 10]
        gained.append(np.isin(found.items, popular).sum() - np.isin(alone.items, popular).sum())
        # What is in both lists is there for the history's sake.
        assert "itemknn" in set(found.source_series())
    assert gained[0] > 5 and gained[0] > gained[2] and gained[3] == 0


def test_it_can_be_left_out(knn: tm.ItemKNN, tmp_path: Path) -> None:
    pipeline = tm.Pipeline([knn], short_histories=ShortHistories(prior=0))
    queries = queries_of(knn.data, 2)
    assert pipeline.answer(queries, 10).items.tolist() == knn.answer(queries, 10).items.tolist()
    pipeline.save(tmp_path / "release")
    assert tm.load(tmp_path / "release").short_histories.prior == 0


def test_long_ones_in_a_batch_are_answered_as_alone(knn: tm.ItemKNN) -> None:
    pipeline = tm.Pipeline([knn])
    histories = knn.data.histories.take([1, 13, 42, 1])
    start = histories.offsets[:-1]
    stop = np.array([start[0] + 2, histories.offsets[2], start[2], histories.offsets[4]])
    queries = Queries.of(histories.parts(start, stop))
    together = pipeline.answer(queries, 7).padded(7).tolist()
    alone = [pipeline.answer(queries.slice(row, row + 1), 7).items.tolist() for row in range(4)]
    assert together == alone


lists = st.lists(st.integers(1, 9), unique=True, max_size=6)


@given(lists, lists, st.integers(1, 19), st.floats(0.1, 10))
def test_the_join_is_the_weighted_sum_of_reciprocal_ranks(
    mine: list[int], theirs: list[int], n: int, prior: float
) -> None:
    def answers(items: list[int], source: int) -> Answers:
        padded = np.zeros((1, 6), np.int32)
        padded[0, : len(items)] = items
        return Answers(padded, padded.astype(np.float32), np.full((1, 6), source, np.uint8))

    expected: dict[int, float] = {}
    for items, weight in ((mine, n / (n + prior)), (theirs, prior / (n + prior))):
        for rank, item in enumerate(items, 1):
            expected[item] = expected.get(item, 0.0) + weight / (RRF + rank)
    both = answers(mine, 1), answers(theirs, 2), np.array([n])
    found = ShortHistories(prior=prior).joined(*both, 12)
    items = found.items[0][found.items[0] > 0].tolist()
    assert sorted(items) == sorted(expected)
    np.testing.assert_allclose(
        found.scores[0, : len(items)], [expected[item] for item in items], rtol=1e-5
    )
    assert (np.diff(found.scores[0]) <= 0).all()
    for item, source in zip(items, found.sources[0].tolist(), strict=False):
        assert source == (1 if item in mine else 2)
    few = ShortHistories(prior=prior).joined(*both, 3)
    np.testing.assert_array_equal(few.items, found.items[:, :3])
    np.testing.assert_array_equal(few.scores, found.scores[:, :3])
    np.testing.assert_array_equal(few.sources[few.items > 0], found.sources[:, :3][few.items > 0])


def test_nobody_without_a_history_is_joined() -> None:
    assert len(ShortHistories().of(Queries.of(Histories.empty(3)))) == 0
