"""Ratings, catalogue, what lies beyond accuracy, and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.metrics.pairwise import cosine_distances

from tastemap import metrics
from tastemap.errors import ParameterError

NAN = float("nan")
floats = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=40))
def test_rating_errors_agree_with_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    predicted, actual = np.array(pairs).T
    assert metrics.rmse(predicted, actual) == pytest.approx(
        root_mean_squared_error(actual, predicted)
    )
    assert metrics.mae(predicted, actual) == pytest.approx(mean_absolute_error(actual, predicted))


def test_rating_errors_by_hand() -> None:
    assert metrics.rmse(np.array([3, 5]), np.array([3, 1])) == pytest.approx(8**0.5)
    assert metrics.mae(np.array([3, 5]), np.array([3, 1])) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("predicted", "actual", "message"),
    [
        ([1.0], [1.0, 2.0], "one length"),
        ([], [], "no rating"),
        ([1.0, NAN], [1.0, 2.0], r"predicted\[1\] is not finite"),
        ([1.0], [np.inf], r"actual\[0\] is not finite"),
    ],
)
def test_bad_ratings_are_named(predicted: list[float], actual: list[float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        metrics.rmse(np.array(predicted), np.array(actual))


LISTS = np.array([[1, 2, 3], [1, 4, 0], [0, 0, 0]], np.int32)


def test_coverage_and_gini_by_hand() -> None:
    counts = metrics.exposure(LISTS, n_items=5, k=2)
    assert counts.tolist() == [2, 1, 0, 1, 0]
    assert metrics.coverage(counts) == pytest.approx(3 / 5)
    # Mean absolute difference over all ordered pairs, halved and divided by the mean.
    by_pairs = np.abs(np.subtract.outer(counts, counts)).mean() / 2 / counts.mean()
    assert metrics.gini(counts) == pytest.approx(by_pairs)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    x = np.array(counts)
    by_pairs = np.abs(np.subtract.outer(x, x)).mean() / 2 / x.mean()
    assert metrics.gini(x) == pytest.approx(by_pairs, abs=1e-12)
    assert 0 <= metrics.gini(x) <= 1 - 1 / len(x) + 1e-12


def test_gini_of_extremes() -> None:
    assert metrics.gini(np.full(7, 3)) == pytest.approx(0.0)
    assert metrics.gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    assert np.isnan(metrics.gini(np.zeros(4, np.int64)))


def test_a_row_beyond_the_catalogue_is_named() -> None:
    with pytest.raises(ParameterError, match=r"item row 4 is recommended, but .* 3 items"):
        metrics.exposure(LISTS, n_items=3, k=3)


POPULARITY = np.array([1000, 8, 4, 0, 2])  # of the unknown item 0: never to be looked at


def test_novelty_by_hand() -> None:
    bits = metrics.novelty(LISTS, POPULARITY, n_users=16, k=3)
    np.testing.assert_allclose(bits, [(1 + 2 + 4) / 3, (1 + 3) / 2, NAN])
    with pytest.raises(ParameterError, match="n_users is 7"):
        metrics.novelty(LISTS, POPULARITY, n_users=7, k=3)


def test_popularity_by_hand() -> None:
    recommended = metrics.arp(LISTS, POPULARITY, k=2)
    np.testing.assert_allclose(recommended, [6, 5, NAN])
    offsets, items = np.array([0, 2, 4, 5]), np.array([2, 4, 0, 4, 1], np.int32)
    before = metrics.profile_popularity(offsets, items, POPULARITY)
    np.testing.assert_allclose(before, [3, 2, 8])
    # The third user has a history but no list, so is left out of both means.
    assert metrics.popularity_bias(recommended, before) == pytest.approx(11 / 5 - 1)
    assert metrics.popularity_bias(before, before) == pytest.approx(0)
    assert np.isnan(metrics.popularity_bias(np.array([NAN]), np.array([1.0])))


def test_diversity_by_hand() -> None:
    genres = np.array([[9, 9], [1, 0], [0, 1], [1, 1], [0, 0]])
    found = metrics.intra_list_diversity(
        np.array([[1, 2, 3], [1, 4, 0], [3, 3, 3], [2, 0, 0]], np.int32), genres, k=3
    )
    np.testing.assert_allclose(found, [(1 + 2 * (1 - 0.5**0.5)) / 3, 1, 0, NAN], atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_diversity_is_the_mean_cosine_distance_of_pairs(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((12, 4)).astype(np.float32)
    items = rng.permutation(11)[:k].astype(np.int32) + 1
    distances = cosine_distances(vectors[items].astype(np.float64))
    expected = distances[np.triu_indices(k, 1)].mean()
    assert metrics.intra_list_diversity(items[None], vectors, k)[0] == pytest.approx(expected)


def test_serendipity_by_hand() -> None:
    recommended = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32)
    hits, n_relevant = metrics.judge(
        recommended, np.array([0, 3, 3]), np.array([1, 3, 4], np.int32)
    )
    expected = np.array([[3, 2, 9, 1], [5, 6, 7, 8]], np.int32)
    # At 3: items 1 and 3 are hits, and 3 is among the first three expected.
    found = metrics.serendipity(hits, n_relevant, recommended, expected, k=3)
    np.testing.assert_allclose(found, [1 / 3, NAN])


def test_serendipity_is_at_most_precision() -> None:
    rng = np.random.default_rng(0)
    recommended = np.stack([rng.permutation(20)[:10] + 1 for _ in range(30)]).astype(np.int32)
    expected = np.stack([rng.permutation(20)[:10] + 1 for _ in range(30)]).astype(np.int32)
    offsets = np.arange(0, 151, 5)
    hits, n_relevant = metrics.judge(recommended, offsets, rng.integers(1, 21, 150, np.int32))
    for k in (1, 5, 10):
        found = metrics.serendipity(hits, n_relevant, recommended, expected, k)
        assert (found <= metrics.precision(hits, n_relevant, k)).all()
        nothing = np.zeros((30, 10), np.int32)
        np.testing.assert_allclose(
            metrics.serendipity(hits, n_relevant, recommended, nothing, k),
            metrics.precision(hits, n_relevant, k),
        )


def test_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    values = rng.beta(1, 4, (400, 2))
    low, high = metrics.bootstrap_interval(values, resamples=4000, confidence=0.9)
    for column in range(2):
        theirs = bootstrap(
            (values[:, column],),
            np.mean,
            n_resamples=4000,
            confidence_level=0.9,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
        width = theirs.high - theirs.low
        assert low[column] == pytest.approx(theirs.low, abs=0.06 * width)
        assert high[column] == pytest.approx(theirs.high, abs=0.06 * width)


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    samples = rng.exponential(2.0, (150, 400))  # 400 samples of 150 users
    low, high = metrics.bootstrap_interval(samples, confidence=0.9, resamples=500)
    assert 0.84 < ((low <= 2.0) & (high >= 2.0)).mean() < 0.95


def test_bootstrap_of_ratios_and_gaps() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 9, 300).astype(float)
    low, high = metrics.bootstrap_interval(3.5 * weights, weights)
    assert low == pytest.approx(3.5) and high == pytest.approx(3.5)
    values = np.where(rng.random(300) < 0.5, 7.0, NAN)
    low, high = metrics.bootstrap_interval(values)
    assert low == high == 7.0
    low, high = metrics.bootstrap_interval(np.full(5, NAN))
    assert np.isnan(low) and np.isnan(high)


def test_bootstrap_repeats_itself_and_memory_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).random((50, 3))
    once = metrics.bootstrap_interval(values, seed=4)
    np.testing.assert_array_equal(once, metrics.bootstrap_interval(values, seed=4))
    assert (once[0] != metrics.bootstrap_interval(values, seed=5)[0]).any()
    monkeypatch.setattr("tastemap.metrics.bootstrap._BLOCK_BYTES", 8 * 50 * 7)
    np.testing.assert_allclose(once, metrics.bootstrap_interval(values, seed=4))


@pytest.mark.parametrize(
    "wrong", [{"confidence": 1.0}, {"confidence": 0}, {"resamples": 0}, {"weights": [1.0]}]
)
def test_bootstrap_refuses_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        metrics.bootstrap_interval([1.0, 2.0], **wrong)  # type: ignore[arg-type]
