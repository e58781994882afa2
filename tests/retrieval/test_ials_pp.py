"""iALS++ against exact ALS, and what its turned map promises."""

from __future__ import annotations

import numpy as np
import pytest
from test_als import small_data

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser
from tastemap.retrieval.als import ALS


def test_with_one_block_it_is_als() -> None:
    data = small_data()
    exact = tm.ALS(factors=8, iterations=4).fit(data)
    swept = tm.IALSPP(factors=8, block_size=8, iterations=4).fit(data)
    # The turn of the map leaves all scores as they are.
    np.testing.assert_allclose(swept.score(data.queries()), exact.score(data.queries()), atol=1e-4)


def test_with_blocks_it_comes_as_far_as_als() -> None:
    data = small_data()

    def objective(model: ALS) -> float:
        c = data.histories.to_csr(len(data.items)).toarray()
        user_ridge = model.ridge(np.diff(data.histories.offsets), model.fitted_scale[0])
        item_ridge = model.ridge(data.item_counts, float((data.histories.counts > 0).sum()))
        x, y = model.encode_queries(data.queries()), model.item_factors
        s = x @ y.T
        return float(
            (c[1:] * (1 - s) ** 2).sum()
            + model.unobserved_weight * (s**2).sum()
            + (user_ridge[1:, None] * x**2).sum()
            + (item_ridge[:, None] * y**2).sum()
        )

    settings = {"factors": 24, "iterations": 20, "regularization": 0.05}
    exact = objective(tm.ALS(**settings).fit(data))
    swept = objective(tm.IALSPP(block_size=8, **settings).fit(data))
    assert swept == pytest.approx(exact, rel=0.01)
    assert objective(tm.IALSPP(block_size=8, **settings | {"iterations": 1}).fit(data)) > swept


def test_the_map_lies_in_its_principal_axes() -> None:
    model = tm.IALSPP(factors=16).fit(small_data())
    y = model.item_factors.astype(np.float64)
    gram = y.T @ y
    lengths = np.diag(gram)
    assert np.abs(gram - np.diag(lengths)).max() < 1e-5 * lengths.max()
    assert (np.diff(lengths) <= 1e-6).all()
    np.testing.assert_allclose(model.item_gram, model.unobserved_weight * gram, atol=1e-5)


def test_queries_are_solved_exactly() -> None:
    data = small_data()
    model = tm.IALSPP(factors=16, block_size=8).fit(data)
    np.testing.assert_allclose(
        model.encode_queries(data.queries()), ALS.encode_queries(model, data.queries()), atol=1e-5
    )


def test_evidence_of_a_history_adds_up_to_its_scores() -> None:
    model = tm.IALSPP(factors=8).fit(small_data())
    history, items = np.array([2, 5, 11, 30], np.int32), np.arange(1, 20, dtype=np.int32)
    scores = model.score(Queries.of(Histories.from_lists([history])), items)
    np.testing.assert_allclose(model.evidence(history, items).sum(axis=0), scores[0], atol=1e-5)


def test_torch_path_equals_numba() -> None:
    data = small_data()
    fitted = [
        tm.IALSPP(factors=24, block_size=8).fit(data, run=tm.Run(device=device))
        for device in ("cpu:0", "cpu")
    ]
    np.testing.assert_allclose(*(m.score(data.queries()) for m in fitted), atol=1e-3)


def test_reaches_its_figures_on_movielens_100k(liked_movies: Dataset) -> None:
    split = RandomPerUser(test=0.2, seed=0).split(liked_movies)
    report = tm.evaluate(tm.IALSPP().fit(split.train), split, metrics=["ndcg@10", "ndcg@100"])
    assert report["ndcg@10"] > 0.31
    assert report["ndcg@100"] > 0.45
