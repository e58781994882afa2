"""Matrix factorization: quality of ratings, fold-in, early stopping, and both ways of training."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.splits import RandomPerUser, Split
from tastemap.errors import ParameterError
from tastemap.retrieval.matrix_factorization import MatrixFactorization
from tastemap.retrieval.matrix_factorization_torch import TorchTrainer
from tastemap.retrieval.matrix_factorization_training import Settings
from tastemap.training.loop import train
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)


@pytest.fixture(scope="module")
def ratings(movies: Dataset) -> Split:
    return RandomPerUser(test=0.1, seed=1).split(movies)


@pytest.fixture(scope="module")
def fitted(ratings: Split) -> MatrixFactorization:
    return MatrixFactorization().fit(ratings.train, run=QUIET)


@pytest.fixture(scope="module")
def liked(liked_movies: Dataset) -> Split:
    return RandomPerUser(test=0.2, seed=0).split(liked_movies)


@pytest.fixture(scope="module")
def ranker(liked: Split) -> MatrixFactorization:
    return MatrixFactorization(loss="bpr", epochs=40).fit(liked.train, run=QUIET)


def pairs_of(holdout: Holdout) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    truth = holdout.truth
    return holdout.queries.users[truth.rows_of_events()], truth.items, truth.values


def error(model: MatrixFactorization, holdout: Holdout, queries: Queries | None = None) -> float:
    truth = holdout.truth
    asked = holdout.queries if queries is None else queries
    predicted = model.predict_pairs(asked, truth.rows_of_events(), truth.items)
    return tm.metrics.rmse(predicted, truth.values)


def test_ratings_of_class_defaults(fitted: MatrixFactorization, ratings: Split) -> None:
    # 0.901 by the three seeds of a random tenth; a mean per user and item alone gives 0.94.
    assert ratings.test is not None
    assert 0.88 < error(fitted, ratings.test) < 0.92


def test_predict_of_known_and_unknown(fitted: MatrixFactorization) -> None:
    user, item = fitted.users.ids([7])[0], fitted.items.ids([11])[0]
    k, mean = fitted.factors, float(fitted.ratings[0])
    p, q = fitted.user_vectors[7], fitted.vectors[11]
    expected = [p @ q, mean + q[k], p[k + 1], mean]
    got = fitted.predict([user, "nobody", user, "nobody"], [item, item, "nothing", "nothing"])
    np.testing.assert_allclose(got, np.clip(expected, 1, 5), rtol=1e-5)
    assert p[k] == q[k + 1] == 1


def test_ratings_stay_in_the_range_seen(fitted: MatrixFactorization) -> None:
    rng = np.random.default_rng(0)
    users = fitted.users.ids(rng.integers(1, len(fitted.users), 5000))
    items = fitted.items.ids(rng.integers(1, len(fitted.items), 5000))
    got = fitted.predict(users, items)
    assert got.min() >= 1 and got.max() <= 5
    assert got.dtype == np.float64


def test_scores_are_ratings_that_are_not_clipped(fitted: MatrixFactorization) -> None:
    queries = fitted.data.queries(np.array([5, 6]))
    scores = fitted.score(queries)
    rated = fitted.predict_pairs(queries, np.array([1, 0]), np.array([9, 10], np.int32))
    np.testing.assert_allclose(np.clip([scores[1, 9], scores[0, 10]], 1, 5), rated, rtol=1e-5)


def test_the_learned_vector_is_used_while_a_history_is_unchanged(
    fitted: MatrixFactorization, ranker: MatrixFactorization
) -> None:
    for model in (fitted, ranker):
        queries = model.data.queries(np.array([3, 4, 5]))
        np.testing.assert_array_equal(model.encode_queries(queries), model.user_vectors[[3, 4, 5]])
        h = queries.histories
        changed = replace(queries, histories=replace(h, items=h.items.copy()))
        changed.histories.items[h.offsets[1]] = 1 + h.items[h.offsets[1]] % 100
        got = model.encode_queries(changed)
        np.testing.assert_array_equal(got[[0, 2]], model.user_vectors[[3, 5]])
        assert not np.allclose(got[1], model.user_vectors[4], atol=1e-3)
        if model is fitted:
            changed = replace(queries, histories=replace(h, values=6 - h.values))
            assert not np.allclose(model.encode_queries(changed), got, atol=1e-3)


def test_strangers_with_the_history_of_a_user_are_served_as_well(
    fitted: MatrixFactorization, ratings: Split
) -> None:
    assert ratings.test is not None
    known = ratings.test.queries
    strangers = Queries.of(known.histories)
    assert not np.array_equal(fitted.encode_queries(strangers), fitted.encode_queries(known))
    assert error(fitted, ratings.test, strangers) < error(fitted, ratings.test) + 0.03


def test_fold_in_of_ratings_finds_the_minimum(fitted: MatrixFactorization) -> None:
    h = fitted.data.histories.slice(20, 21)
    found = fitted.encode_queries(Queries.of(h))[0].astype(np.float64)
    x = fitted.vectors[h.items].astype(np.float64)

    def objective(vector: NDArray[np.float64]) -> float:
        k = fitted.factors
        errors = h.values - x @ vector
        bias = vector[k + 1] - fitted.ratings[0]
        penalty = 0.04 * vector[:k] @ vector[:k] + fitted.bias_regularization * bias**2
        return float(errors @ errors + len(x) * penalty)

    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.normal(scale=0.01, size=len(found))
        step[fitted.factors] = 0
        assert objective(found + step) > objective(found)


def test_fold_in_knows_nothing_of_the_batch(
    fitted: MatrixFactorization, ranker: MatrixFactorization
) -> None:
    for model in (fitted, ranker):
        lists = [[3, 9, 27], [], [0, 5], [0], [4, 10**6, 8]]
        together = model.encode_queries(Queries.of(Histories.from_lists(lists)))
        for row, items in enumerate([[3, 9, 27], [], [5], [], [4, 8]]):
            alone = model.encode_queries(Queries.of(Histories.from_lists([items])))
            np.testing.assert_array_equal(together[row], alone[0])
        assert together[1].tolist() == [0.0] * model.factors + [1, model.ratings[0]]


def test_users_newer_than_the_model_are_folded_in(fitted: MatrixFactorization) -> None:
    history = Histories.from_lists([[3, 9, 27]], values=[[5, 4, 1]])
    newer = Queries.of(history, users=np.array([len(fitted.users) + 5], np.int32))
    np.testing.assert_array_equal(
        fitted.encode_queries(newer), fitted.encode_queries(Queries.of(history))
    )


def test_ranking_of_implicit_feedback(ranker: MatrixFactorization, liked: Split) -> None:
    assert tm.evaluate(ranker, liked, metrics=["ndcg@10"])["ndcg@10"] > 0.2
    with pytest.raises(ParameterError, match="loss='mse'"):
        ranker.predict([ranker.users.ids([1])[0]], [ranker.items.ids([1])[0]])


@pytest.mark.parametrize("loss", ["mse", "bpr"])
def test_a_seed_gives_the_same_model(movies: Dataset, loss: str) -> None:
    first, second, other = (
        MatrixFactorization(loss=loss, epochs=3, seed=seed).fit(movies, run=QUIET)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    for name, learned in first.tensors().items():
        np.testing.assert_array_equal(learned, second.tensors()[name])
    assert not np.array_equal(first.vectors, other.vectors)


@pytest.mark.parametrize("loss", ["mse", "bpr"])
def test_what_had_no_events_knows_nothing(movies: Dataset, loss: str) -> None:
    rows, h = movies.histories.rows_of_events(), movies.histories
    part = movies.with_events((rows != 8) & (h.items != 30))
    model = MatrixFactorization(loss=loss, epochs=3, factors=4).fit(part, run=QUIET)  # type: ignore[arg-type]
    assert model.user_vectors[8].tolist() == [0, 0, 0, 0, 1, model.ratings[0]]
    assert model.vectors[0].tolist() == [0, 0, 0, 0, 0, 1]
    if loss == "mse":
        assert model.vectors[30].tolist() == [0, 0, 0, 0, 0, 1]
    else:
        # Only ever a negative.
        assert model.vectors[30, 4] < 0


def test_validation_stops_early_and_keeps_the_best(ratings: Split) -> None:
    assert ratings.test is not None
    overfitting = MatrixFactorization(
        epochs=60, learning_rate=0.1, regularization=0.001, patience=2
    )
    overfitting.fit(ratings.train, validation=ratings.test, run=QUIET)
    training = overfitting.training
    measured = [epoch["rmse"] for epoch in training.history]
    assert training.stopped == "patience"
    assert len(measured) == training.best_epoch + 2
    assert min(measured) == measured[training.best_epoch - 1]
    assert error(overfitting, ratings.test) == pytest.approx(min(measured), rel=1e-6)


def test_validation_of_a_ranking(liked: Split) -> None:
    model = MatrixFactorization(loss="bpr", epochs=2, factors=8)
    model.fit(liked.train, validation=liked.test, run=QUIET)
    expected = tm.evaluate(model, liked, metrics=["ndcg@10"])["ndcg@10"]
    best = max(epoch["ndcg@10"] for epoch in model.training.history)
    assert best == pytest.approx(expected, rel=1e-4)


def test_the_run_folder_holds_what_was_resolved(movies: Dataset, tmp_path: Path) -> None:
    run = Run(tmp_path, device="cpu", progress=False)
    MatrixFactorization(epochs=2, factors=4).fit(movies, run=run)
    written = tomllib.loads((tmp_path / "run.toml").read_text())
    assert written["model"]["class"] == "MatrixFactorization"
    assert written["hyperparameters"]["learning_rate"] == 0.05
    assert written["hyperparameters"]["epochs"] == 2
    assert written["data"]["fingerprint"] == movies.fingerprint
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


@pytest.mark.parametrize("loss", ["mse", "bpr"])
def test_torch_learns_what_the_kernels_learn(ratings: Split, liked: Split, loss: str) -> None:
    split = ratings if loss == "mse" else liked
    assert split.test is not None
    model = MatrixFactorization(loss=loss, factors=16, epochs=10, batch_size=1024)  # type: ignore[arg-type]
    model.fit(split.train, run=QUIET)
    mean, n_items = float(model.ratings[0]), len(model.items)
    settings = Settings(
        loss=model.loss, factors=16, epochs=10, bias_regularization=0.01, batch_size=1024, seed=0,
        learning_rate=0.05 if loss == "mse" else 0.1,
        regularization=0.04 if loss == "mse" else 0.01,
    )  # fmt: skip
    events = split.train.histories

    def quality() -> float:
        if loss == "mse":
            return error(model, split.test)
        return tm.evaluate(model, split, metrics=["ndcg@10"])["ndcg@10"]

    by_kernels = quality()
    trainer = TorchTrainer(settings, events, n_items, mean, "cpu")
    training = train(trainer, epochs=10, seed=0, run=QUIET)
    model._set_vectors(trainer.state())
    assert quality() == pytest.approx(by_kernels, abs=0.01 if loss == "mse" else 0.03)
    name = f"train_{'rmse' if loss == 'mse' else 'loss'}"
    losses = [epoch[name] for epoch in training.history]
    assert losses[-1] < min(losses[:5])
    assert not trainer.state()["P"][0].any() and not trainer.state()["Q"][0].any()


def test_torch_does_not_diverge_where_one_item_fills_the_batch() -> None:
    n = 4000
    one_item = Histories.from_lists([[], *[[1]] * n], values=[[], *[[3.0]] * n])
    settings = Settings("mse", 4, 20, 0.1, 0.01, 0.01, batch_size=n, seed=0)
    trainer = TorchTrainer(settings, one_item, 2, 0.0, "cpu")
    training = train(trainer, epochs=20, seed=0, run=QUIET)
    assert training.history[-1]["train_rmse"] < 0.5


def test_a_device_other_than_the_cpu_is_trained_by_torch(movies: Dataset) -> None:
    # "cpu:0" is the CPU for torch, and not "cpu" to the model.
    model = MatrixFactorization(epochs=1, factors=4, batch_size=50_000)
    model.fit(movies, run=Run(device="cpu:0", progress=False))
    kernels = MatrixFactorization(epochs=1, factors=4).fit(movies, run=QUIET)
    assert model.vectors.shape == kernels.vectors.shape
    assert not np.array_equal(model.vectors, kernels.vectors)
