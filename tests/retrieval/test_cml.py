"""CML: the ball, the metric as a dot product, and the gradient of its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tastemap as tm
from tastemap.data.queries import Queries
from tastemap.retrieval.cml import CML, covariance, into_unit_ball


@pytest.fixture(scope="module")
def model(liked_movies: tm.Dataset) -> CML:
    return CML(epochs=2, factors=16, margin=2.0, negatives=5, batch_size=512).fit(liked_movies)


def test_vectors_stay_in_the_unit_ball(model: CML) -> None:
    for vectors in (model.vectors, model.user_vectors):
        lengths = np.linalg.norm(vectors, axis=1)
        assert lengths.max() <= 1 + 1e-6
        # The ball holds them back, rather than that none of them got that far.
        assert (lengths > 1 - 1e-6).mean() > 0.005
    assert not model.vectors[0].any()


def test_a_folded_in_user_stays_in_the_ball_too(model: CML) -> None:
    strangers = Queries.of(model.histories.take(np.arange(1, 30)))
    places = model.places(strangers)
    assert np.linalg.norm(places, axis=1).max() <= 1 + 1e-6


def test_folding_in_finds_a_place_like_the_learned_one(model: CML) -> None:
    rows = np.arange(1, 200)
    learned = model.user_vectors[rows]
    folded = model.places(Queries.of(model.histories.take(rows)))
    far = np.square(folded - learned).sum(axis=1).mean()
    shuffled = np.square(folded - np.roll(learned, 1, axis=0)).sum(axis=1).mean()
    assert far < 0.6 * shuffled


def test_scores_order_items_by_distance(model: CML) -> None:
    queries = model.data.queries(np.arange(1, 40))
    u, v = model.places(queries).astype(float), model.vectors.astype(float)
    distances = np.square(u[:, None] - v).sum(axis=2)
    # The score is -|u - v|² + |u|².
    expected = np.square(u).sum(axis=1, keepdims=True) - distances
    np.testing.assert_allclose(model.score(queries), expected, atol=1e-5)


def test_likeness_falls_with_distance(model: CML) -> None:
    alike = model.similarity(np.array([5, 9], np.int32))
    v = model.vectors.astype(float)
    expected = 1 - np.square(v[[5, 9], None] - v).sum(axis=2) / 4
    np.testing.assert_allclose(alike, expected, atol=1e-5)
    assert alike.min() >= 0
    assert alike.max() <= 1 + 1e-6


def test_covariance_is_that_of_different_dimensions() -> None:
    x = np.random.default_rng(0).normal(size=(50, 4))
    matrix = np.cov(x.T, bias=True)
    expected = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    assert covariance(torch.from_numpy(x)).item() == pytest.approx(expected)
    # Independent of each other in every combination, they cost nothing.
    corners = torch.tensor([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    assert covariance(corners).item() == 0


def test_only_what_is_outside_is_cut() -> None:
    cut = into_unit_ball(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]))
    torch.testing.assert_close(cut, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))
