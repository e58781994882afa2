"""The benchmarks' splits: disjoint, complete, of the stated sizes, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.splits import Ratings, leave_one_out, rating_tenth, top_n


@pytest.fixture
def ratings() -> Ratings:
    rng = np.random.default_rng(3)
    pairs = np.unique(rng.integers(0, [40, 60], (900, 2)), axis=0)
    rng.shuffle(pairs)
    values = rng.integers(1, 6, len(pairs)).astype(np.float32)
    return Ratings("made", pairs[:, 0], pairs[:, 1], values, 40, 60)


def test_top_n_holds_out_a_fifth_of_each_users_likes(ratings: Ratings) -> None:
    split = top_n(ratings, seed=0)
    liked = np.bincount(ratings.users[ratings.values >= 4], minlength=40)
    kept = liked[liked >= 5]
    tested = np.diff(split.test.indptr)
    np.testing.assert_array_equal(tested, np.round(kept / 5))
    np.testing.assert_array_equal(np.diff(split.train.indptr) + tested, kept)
    assert split.train.multiply(split.test).nnz == 0


def test_a_seed_gives_the_same_split_and_another_one_another(ratings: Ratings) -> None:
    assert top_n(ratings, 1).hash == top_n(ratings, 1).hash != top_n(ratings, 2).hash


def test_validation_is_made_of_training_events_only(ratings: Ratings) -> None:
    split = top_n(ratings, 0)
    inner = split.validation()
    assert inner.train.nnz + inner.test.nnz <= split.train.nnz
    assert rating_tenth(ratings).validation().hash != rating_tenth(ratings).hash
    tenth = rating_tenth(ratings)
    again = tenth.validation()
    assert set(again.train) | set(again.test) == set(tenth.train)


def test_ratings_are_split_by_the_published_shuffle(ratings: Ratings) -> None:
    split = rating_tenth(ratings)
    order = np.random.RandomState(42).permutation(len(ratings.values))
    np.testing.assert_array_equal(split.test, order[: len(order) // 10])
    assert sorted([*split.train, *split.test]) == list(range(len(order)))


def test_the_last_event_of_each_user_is_left_out() -> None:
    users = np.array([0, 1, 0, 0, 1, 0, 2, 2, 2])
    items = np.array([4, 1, 3, 2, 0, 1, 0, 3, 4])
    times = np.array([5.0, 2, 9, 9, 1, 1, 7, 7, 7])
    split = leave_one_out(Ratings("made", users, items, np.ones(9, np.float32), 3, 5, times))
    # Ties keep the order of the file; user 1 has too few events to be asked about.
    assert split.last.toarray().argmax(axis=1)[[0, 2]].tolist() == [2, 4]
    assert np.diff(split.last.indptr).tolist() == [1, 0, 1]
    assert split.offsets.tolist() == [0, 3, 5, 7]
    assert split.items.tolist() == [1, 4, 3, 0, 1, 0, 3]
    assert split.times.tolist() == [1, 5, 9, 1, 2, 7, 7]
    assert split.trained.tolist() == [True, True, False, True, True, True, False]
    assert (np.diff(split.history.indptr) == np.diff(split.offsets)).all()

    validation = split.validation()
    assert validation.items.tolist() == [1, 4, 0, 1, 0]
    assert validation.offsets.tolist() == [0, 2, 4, 5]
    assert validation.trained.all()
    assert validation.last.toarray().argmax(axis=1)[[0, 2]].tolist() == [3, 3]
    assert np.diff(validation.last.indptr).tolist() == [1, 0, 1]
