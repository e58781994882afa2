"""SLIM against its optimality conditions and scikit-learn's elastic net."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from sklearn.linear_model import ElasticNet
from test_ease import small_data

import tastemap as tm
from tastemap.errors import DataError
from tastemap.kernels.slim import slim_weights
from tastemap.retrieval.parts.activity import damp_active_users


def choices(users: int = 80, items: int = 30, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((users, items)) < rng.uniform(0.05, 0.6, items)).astype(np.float32)


def weights_of(x: np.ndarray, l1: float, l2: float, neighbors: int = 1000) -> np.ndarray:
    return slim_weights(x.T @ x, l1, l2, neighbors, 1e-7, 2000).toarray()


def test_equals_the_elastic_net_of_scikit_learn() -> None:
    x, l1, l2 = choices(), 0.8, 3.0
    ours = weights_of(x, l1, l2)
    n = len(x)
    for j in (0, 7, 29):
        others = x.copy()
        others[:, j] = 0
        # Theirs is divided by the number of samples.
        net = ElasticNet(
            alpha=(l1 + l2) / n,
            l1_ratio=l1 / (l1 + l2),
            positive=True,
            fit_intercept=False,
            tol=1e-10,
            max_iter=100_000,
        ).fit(others.astype(np.float64), x[:, j].astype(np.float64))
        np.testing.assert_allclose(ours[:, j], net.coef_, atol=1e-4)
        assert (net.coef_ == 0).sum() == (ours[:, j] == 0).sum()


def test_weights_are_sparse_not_negative_and_none_is_of_an_item_for_itself() -> None:
    w = weights_of(choices(), 2.0, 3.0)
    assert (w >= 0).all()
    assert not np.diag(w).any()
    assert 0.02 < (w > 0).mean() < 0.6


def test_only_the_most_similar_items_speak_where_few_are_asked() -> None:
    x = choices()
    w = weights_of(x, 0.5, 3.0, neighbors=5)
    assert ((w > 0).sum(axis=0) <= 5).all()
    cosine = (x.T @ x) / np.sqrt(np.outer((x**2).sum(0), (x**2).sum(0)))
    np.fill_diagonal(cosine, 0)
    for j in range(x.shape[1]):
        assert set(np.flatnonzero(w[:, j])) <= set(np.argsort(-cosine[:, j], kind="stable")[:5])


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_does_not_depend_on_the_number_of_threads() -> None:
    x = choices(items=90)
    before = nb.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            nb.set_num_threads(threads)
            results.append(weights_of(x, 0.5, 3.0))
    finally:
        nb.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_active_users_count_less(exponent: float) -> None:
    x = small_data().histories.to_csr(41)
    damped = damp_active_users(x, exponent).toarray()
    n = x.toarray().sum(axis=1)
    squares = (damped**2).sum(axis=1)
    np.testing.assert_allclose(squares.sum(), n.sum(), rtol=1e-5)
    some = n > 0
    ratio = squares[some] / n[some] ** (1 - exponent)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_scores_are_the_history_times_the_weights() -> None:
    data = small_data()
    model = tm.SLIM(l1=0.1, l2=2.0, activity_exponent=0, tolerance=1e-7, sweeps=1000).fit(data)
    x = data.histories.to_csr(41).toarray()
    np.testing.assert_allclose(
        model.score(data.queries()), x[1:] @ weights_of(x, 0.1, 2.0), atol=1e-4
    )


def test_a_catalogue_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemap.retrieval.slim._MAX_ITEMS", 39)
    with pytest.raises(DataError, match=r"40 items.*min_item_events"):
        tm.SLIM().fit(small_data())
