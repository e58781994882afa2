"""RP3Beta and UserKNN against dense numpy."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from test_ease import small_data

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.neighborhoods import best_neighbors


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.6, 0.5)])
def test_rp3_beta_equals_three_steps_of_a_walk(alpha: float, beta: float) -> None:
    data = small_data()
    x = data.histories.to_csr(41).toarray().astype(np.float64)
    of_users, of_items = np.maximum(x.sum(axis=1), 1), np.maximum(x.sum(axis=0), 1)
    to_items = (x / of_users[:, None]) ** alpha
    to_users = (x.T / of_items[:, None]) ** alpha
    walk = to_users @ to_items / of_items**beta
    np.fill_diagonal(walk, 0)
    model = tm.RP3Beta(alpha=alpha, beta=beta, neighbors=100).fit(data)
    np.testing.assert_allclose(model.score(data.queries()), x[1:] @ walk, rtol=1e-4, atol=1e-6)


def test_best_neighbors_are_the_largest_above_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemap.retrieval.parts.neighborhoods._TILE", 7)
    matrix = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)
    found = best_neighbors(lambda rows: matrix[rows].copy(), 20, 4)
    for row in range(20):
        others = np.where(np.arange(20) == row, 0, matrix[row])
        expected = [i for i in np.argsort(-others)[:4] if others[i] > 0]
        here = slice(found.offsets[row], found.offsets[row + 1])
        assert found.items[here].tolist() == sorted(expected)
        np.testing.assert_array_equal(found.weights[here], matrix[row, found.items[here]])


@pytest.mark.parametrize("weighting", ["cosine", "tfidf"])
@pytest.mark.parametrize(("neighbors", "shrinkage"), [(5, 0.0), (1000, 3.0)])
def test_user_knn_equals_numpy(weighting: str, neighbors: int, shrinkage: float) -> None:
    data = small_data()
    model = tm.UserKNN(weighting=weighting, neighbors=neighbors, shrinkage=shrinkage).fit(data)
    x = data.histories.to_csr(41).toarray().astype(np.float64)
    weighted = x * model.item_weights
    length = np.maximum(np.linalg.norm(weighted, axis=1), 1e-12)
    similarity = weighted @ weighted.T / np.outer(length, length)
    shared = x @ x.T
    similarity *= shared / np.maximum(shared + shrinkage, 1e-12)
    np.fill_diagonal(similarity, 0)
    for row in similarity:
        # float32, as the kernel compares, so that ties are ties.
        row[np.argsort(-row.astype(np.float32), kind="stable")[neighbors:]] = 0
    np.testing.assert_allclose(model.score(data.queries()), (similarity @ x)[1:], atol=2e-2)
    close = np.isclose(model.score(data.queries()), (similarity @ x)[1:], atol=1e-4)
    assert close.mean() > 0.99


def test_a_stranger_finds_the_neighbours_of_their_history_and_a_user_is_not_their_own() -> None:
    data = small_data()
    model = tm.UserKNN(neighbors=1).fit(data)
    user = np.array([7])
    stranger = model.score(Queries.of(data.histories.take(user)))[0]
    known = model.score(data.queries(user))[0]
    mine = np.unique(data.histories.items_of(7))
    # The nearest to the stranger is that user, at a similarity of 1; the user has another.
    assert set(np.flatnonzero(stranger)) == set(mine)
    np.testing.assert_allclose(stranger[mine], 1.0, atol=1e-6)
    assert 0 < known.max() < 1


def test_a_repeated_event_counts_once() -> None:
    model = tm.UserKNN().fit(small_data())
    once, twice = (Queries.of(Histories.from_lists([h])) for h in ([3, 8], [3, 8, 3, 0]))
    np.testing.assert_array_equal(model.score(once), model.score(twice))


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_user_knn_does_not_depend_on_the_number_of_threads() -> None:
    data = small_data()
    model = tm.UserKNN(neighbors=7).fit(data)
    before = nb.get_num_threads()
    try:
        nb.set_num_threads(1)
        alone = model.score(data.queries())
        nb.set_num_threads(2)
        np.testing.assert_array_equal(model.score(data.queries()), alone)
    finally:
        nb.set_num_threads(before)
