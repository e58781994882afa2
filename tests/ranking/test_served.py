"""A ranker at work: candidates of requests are scored as rows of features are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tastemap as tm
from tastemap.data.candidates import Candidates
from tastemap.errors import SchemaError
from tastemap.features.item_features import ItemFeatures
from tastemap.features.requests import RequestFeatures
from tastemap.ranking.parts.served_crosses import ServedCrosses
from tests.features.generated import dataset, events

RUN = tm.Run(device="cpu", progress=False)
USERS, ITEMS = 40, 60


@pytest.fixture(scope="module")
def features() -> RequestFeatures:
    """Three requests with 300, 0 and 2 candidates, of one source that knows few of them."""
    rng = np.random.default_rng(0)
    data = dataset(events(0, 2000, USERS, ITEMS), USERS, ITEMS)
    items = rng.integers(0, ITEMS, 302).astype(np.int32)
    scores = np.where(rng.random((302, 1)) < 0.5, np.nan, rng.random((302, 1))).astype(np.float32)
    proposed = Candidates(np.array([0, 300, 300, 302]), items, scores, scores + 1, ("knn",))
    known = tm.PointInTime().fit(data, ("knn",))
    return known.apart(data.queries(np.array([3, 4, 5])), proposed)


def fitted(features: RequestFeatures, **hyperparameters: Any) -> tm.DCNv2:
    rows = features.joined()
    ranker = tm.DCNv2(dim=6, hidden=16, epochs=30, learning_rate=0.05, **hyperparameters)
    return ranker.fit_batch(rows, rows.categorical[:, 3] % 3 == 0, run=RUN)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "hyperparameters",
    [{}, {"history": "dot"}, {"numbers": "periodic", "tables": "hashed", "layers": 1}],
)
def test_what_candidates_share_is_computed_once_and_nothing_changes(
    features: RequestFeatures, layers: int, hyperparameters: dict[str, Any]
) -> None:
    ranker = fitted(features, cross_layers=layers, **hyperparameters)
    expected = ranker.score_batch(features.joined())
    assert expected.std() > 0.1
    network: Any = ranker.network
    whole = ServedCrosses(network, features, exact=True)(features)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    # Of bytes, where the processor has units for them: numbers of 7 bits and a sign.
    rough = ServedCrosses(network, features)(features)
    np.testing.assert_allclose(rough, expected, atol=0.005 * float(np.ptp(expected)))


@pytest.mark.parametrize(
    "hyperparameters", [{"structure": "stacked"}, {"rank": 2}, {"history": "dot"}, {}]
)
def test_every_form_scores_requests_as_it_scores_rows(
    features: RequestFeatures, hyperparameters: dict[str, Any]
) -> None:
    ranker = fitted(features, **hyperparameters)
    expected = ranker.score_batch(features.joined())
    found = ranker.score_requests(features)
    np.testing.assert_allclose(found, expected, atol=0.03 * float(np.ptp(expected)))


@pytest.mark.parametrize(
    "hyperparameters", [{}, {"history": "dot"}, {"cross_layers": 3}, {"numbers": "periodic"}]
)
def test_where_nothing_is_proposed_nothing_is_scored(
    features: RequestFeatures, hyperparameters: dict[str, Any]
) -> None:
    ranker = fitted(features, **hyperparameters)
    data = dataset(events(0, 2000, USERS, ITEMS), USERS, ITEMS)
    known = tm.PointInTime().fit(data, ("knn",))
    none = np.empty((0, 1), np.float32)
    nobody = Candidates(np.zeros(2, np.int64), np.empty(0, np.int32), none, none, ("knn",))
    found = ranker.score_requests(known.apart(data.queries(np.array([4])), nobody))
    assert (found.shape, found.dtype) == ((0,), np.float32)


def test_members_of_a_blend_score_requests_each_by_the_features_that_it_sees(
    features: RequestFeatures,
) -> None:
    rows = features.joined()
    said = "dim=6, hidden=16, epochs=10, learning_rate=0.05, history=dot"
    models = (
        f"dcnv2({said}, without=user|request.hour|item.genres|item.age|pair.similarity) + "
        f"dcnv2({said}, without=item)"
    )
    blend = tm.BlendRanker(models=models).fit_batch(rows, rows.categorical[:, 3] % 3 == 0, run=RUN)
    assert [len(member.schema.sequences) for member in blend.members] == [2, 0]
    expected = blend.score_batch(rows)
    found = blend.score_requests(features)
    np.testing.assert_allclose(found, expected, atol=0.03 * float(np.ptp(expected)))


def test_items_that_nobody_else_is_proposed_score_as_those_that_many_are(
    features: RequestFeatures,
) -> None:
    ranker = fitted(features)
    expected = ranker.score_requests(features)
    # Each candidate has a row of its own.
    own = np.arange(len(features.places))
    apart = replace(
        features, items=ItemFeatures.of(features.items.block.take(features.places)), places=own
    )
    found = ranker.score_requests(apart)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_ranker_that_learned_again_serves_what_it_learned(features: RequestFeatures) -> None:
    ranker = fitted(features)
    before = ranker.score_requests(features)
    rows = features.joined()
    ranker.fit_batch(rows, rows.categorical[:, 3] % 3 == 1, run=RUN)
    after = ranker.score_requests(features)
    assert np.abs(after - before).max() > 0.5
    np.testing.assert_allclose(after, ranker.score_batch(rows), atol=0.03 * float(np.ptp(after)))


def test_other_features_are_refused(features: RequestFeatures) -> None:
    ranker = fitted(features)
    data = dataset(events(0))
    known = tm.PointInTime().fit(data, ("other",))
    none = np.ones((1, 1), np.float32)
    asked = Candidates(np.array([0, 1]), np.ones(1, np.int32), none, none, ("other",))
    with pytest.raises(SchemaError, match="was fitted on the features"):
        ranker.score_requests(known.apart(data.queries(np.array([1])), asked))
