"""EASE against the closed form in plain numpy, and its scoring kernel."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser
from tastemap.errors import DataError
from tastemap.kernels.ease import sum_rows


def small_data(seed: int = 0) -> Dataset:
    """60 users with 2 … 14 of 40 items, some chosen twice, with values 1 … 5."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, item) for user in range(1, 61) for item in rng.integers(1, 41, rng.integers(2, 15))
    ]
    users, items = np.array(rows, np.int32).T
    return Dataset.from_events(
        tm.Vocabulary(np.arange(60)),
        tm.Vocabulary(np.arange(40)),
        users,
        items,
        values=rng.integers(1, 6, len(users)).astype(np.float32),
    )


@pytest.mark.parametrize("use_values", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_equals_numpy(use_values: bool, device: str) -> None:
    data = small_data()
    model = tm.EASE(regularization=7.0, dropout=0, activity_exponent=0, use_values=use_values)
    model.fit(data, run=tm.Run(device=device))
    x = data.histories.to_csr(41, values=use_values).toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + 7.0 * np.eye(41))
    expected = np.eye(41) - p / np.diag(p)
    np.testing.assert_allclose(model.item_weights, expected, atol=1e-6)
    assert not np.diag(model.item_weights).any()
    np.testing.assert_allclose(model.score(data.queries()), x[1:] @ expected, atol=1e-5)


def test_no_weights_with_a_zero_diagonal_are_better() -> None:
    data = small_data()
    x = data.histories.to_csr(41).toarray()
    best = tm.EASE(regularization=7.0, dropout=0.4, activity_exponent=0.6).fit(data).item_weights
    best = best.astype(np.float64)
    n = x.sum(axis=1)
    users = np.maximum(n, 1.0) ** -0.6
    users *= n.sum() / (users @ n)

    def cost(weights: np.ndarray) -> float:
        # Of histories whose events are hidden with a chance of 0.4, and the rest made up for it,
        # the variance of what they give is added to the error of the whole.
        hidden = 0.4 / 0.6 * (users @ x**2) @ (weights**2).sum(axis=1)
        error = users @ ((x - x @ weights) ** 2).sum(axis=1)
        return float(error + hidden + 7.0 * (weights**2).sum())

    rng = np.random.default_rng(1)
    for _ in range(20):
        step = 0.01 * rng.standard_normal(best.shape)
        np.fill_diagonal(step, 0.0)
        assert cost(best + step) > cost(best)


def test_reaches_its_figures_on_movielens_100k(liked_movies: Dataset) -> None:
    split = RandomPerUser(test=0.2, seed=0).split(liked_movies)
    report = tm.evaluate(
        tm.EASE().fit(split.train), split, metrics=["recall@20", "ndcg@10", "ndcg@100"]
    )
    assert report["recall@20"] > 0.355
    assert report["ndcg@10"] > 0.30
    assert report["ndcg@100"] > 0.435


def test_a_repeated_event_counts_once() -> None:
    model = tm.EASE().fit(small_data())
    once, twice = (Queries.of(Histories.from_lists([h])) for h in ([3, 8], [3, 8, 3]))
    np.testing.assert_array_equal(model.score(once), model.score(twice))


def test_evidence_of_a_history_adds_up_to_its_scores() -> None:
    model = tm.EASE().fit(small_data())
    history, items = np.array([2, 5, 11], np.int32), np.arange(1, 20, dtype=np.int32)
    scores = model.score(Queries.of(Histories.from_lists([history])), items)
    np.testing.assert_allclose(model.evidence(history, items).sum(axis=0), scores[0], atol=1e-6)


def test_a_catalogue_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemap.retrieval.ease._MAX_ITEMS", 39)
    with pytest.raises(DataError, match=r"40 items.*min_item_events"):
        tm.EASE().fit(small_data())


@pytest.mark.parametrize(("rows", "n", "m"), [(1, 5, 3), (300, 70, 129), (257, 40, 300)])
def test_sum_rows_equals_numpy(rows: int, n: int, m: int) -> None:
    rng = np.random.default_rng(2)
    x = csr_array(random_array((rows, n), density=0.2, rng=rng, dtype=np.float32))
    matrix = rng.standard_normal((n, m)).astype(np.float32)
    np.testing.assert_allclose(sum_rows(x, matrix), x.toarray() @ matrix, atol=1e-4)


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_sum_rows_does_not_depend_on_threads_or_batch() -> None:
    rng = np.random.default_rng(3)
    x = csr_array(random_array((600, 90), density=0.2, rng=rng, dtype=np.float32))
    matrix = rng.standard_normal((90, 200)).astype(np.float32)
    before = nb.get_num_threads()
    try:
        nb.set_num_threads(1)
        alone = sum_rows(x, matrix)
        nb.set_num_threads(2)
        np.testing.assert_array_equal(sum_rows(x, matrix), alone)
    finally:
        nb.set_num_threads(before)
    np.testing.assert_array_equal(sum_rows(x[[417]], matrix)[0], alone[417])
