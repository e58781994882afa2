"""Matrix factorization with the losses that torch trains: quality, fold-in, options, weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser, Split
from tastemap.errors import ParameterError
from tastemap.retrieval.matrix_factorization import MatrixFactorization
from tastemap.retrieval.matrix_factorization_fold_in import huber_fold_in
from tastemap.retrieval.matrix_factorization_softmax import SoftmaxTrainer
from tastemap.retrieval.matrix_factorization_torch import TorchTrainer, propensity_weights
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)
RANKING: list[dict[str, Any]] = [
    {"loss": "softmax", "epochs": 10, "learning_rate": 0.1},
    {"loss": "sampled_softmax", "epochs": 10, "learning_rate": 0.1, "negatives": 64},
    {"loss": "bce", "epochs": 10, "learning_rate": 0.05},
    {"loss": "bpr", "epochs": 8, "sampler": "hard", "batch_size": 512},
]


@pytest.fixture(scope="module")
def liked(liked_movies: Dataset) -> Split:
    return RandomPerUser(test=0.2, seed=0).split(liked_movies)


@pytest.fixture(scope="module", params=RANKING[:3], ids=lambda options: options["loss"])
def ranker(request: pytest.FixtureRequest, liked: Split) -> MatrixFactorization:
    return MatrixFactorization(factors=16, **request.param).fit(liked.train, run=QUIET)


def ndcg(model: MatrixFactorization, split: Split) -> float:
    return tm.evaluate(model, split, metrics=["ndcg@10"])["ndcg@10"]


def test_a_few_epochs_beat_popularity(ranker: MatrixFactorization, liked: Split) -> None:
    # Popularity has 0.144; the class defaults, which train longer, are in the contract suites.
    assert ndcg(ranker, liked) > 0.18
    losses = [epoch["train_loss"] for epoch in ranker.training.history]
    assert losses[-1] < losses[0]
    assert not ranker.vectors[0, :-1].any()


def test_strangers_with_the_history_of_a_user_are_served_as_well(
    ranker: MatrixFactorization, liked: Split
) -> None:
    known = liked.test.queries
    strangers = replace(liked, test=replace(liked.test, queries=Queries.of(known.histories)))
    assert not np.array_equal(
        ranker.encode_queries(strangers.test.queries), ranker.encode_queries(known)
    )
    assert ndcg(ranker, strangers) > ndcg(ranker, liked) - 0.03


def test_fold_in_knows_nothing_of_the_batch(ranker: MatrixFactorization) -> None:
    lists = [[3, 9, 27], [], [0, 5], [4, 10**6, 8], list(range(1, 300))]
    together = ranker.encode_queries(Queries.of(Histories.from_lists(lists)))
    for row, items in enumerate([[3, 9, 27], [], [5], [4, 8], list(range(1, 300))]):
        alone = ranker.encode_queries(Queries.of(Histories.from_lists([items])))[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5 * np.abs(together).max())
    assert not together[1, :-2].any()


@pytest.mark.parametrize("options", RANKING, ids=lambda options: options["loss"])
def test_a_seed_gives_the_same_model(liked: Split, options: dict[str, Any]) -> None:
    few = {**options, "epochs": 1, "factors": 4}
    first, second, other = (
        MatrixFactorization(**few, seed=seed).fit(liked.train, run=QUIET) for seed in (1, 1, 2)
    )
    for name, learned in first.tensors().items():
        np.testing.assert_array_equal(learned, second.tensors()[name])
    assert not np.array_equal(first.vectors, other.vectors)


@pytest.mark.parametrize("sampler", ["uniform", "popularity", "in_batch", "hard"])
@pytest.mark.parametrize("loss", ["bpr", "bce", "sampled_softmax"])
def test_every_sampler_trains_every_loss(liked: Split, loss: str, sampler: str) -> None:
    options: dict[str, Any] = {"loss": loss, "sampler": sampler, "negatives": 3, "factors": 4}
    if (loss, sampler) == ("sampled_softmax", "hard"):
        with pytest.raises(ParameterError, match="loss='softmax'"):
            MatrixFactorization(**options)
        return
    model = MatrixFactorization(**options, epochs=3).fit(liked.train, run=QUIET)
    losses = [epoch["train_loss"] for epoch in model.training.history]
    assert losses[-1] < losses[0]
    stranger = Queries.of(Histories.from_lists([[3, 9, 27]]))
    assert np.isfinite(model.score(stranger)).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "mse", "negatives": 2}, "draws no negatives"),
        ({"loss": "softmax", "sampler": "popularity"}, "draws no negatives"),
        ({"loss": "huber", "propensity_exponent": 0.5}, "about ratings"),
    ],
)
def test_options_that_a_loss_does_not_use_are_refused(options: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        MatrixFactorization(**options)


def test_plain_bpr_is_trained_by_kernels_and_other_bpr_by_torch(liked: Split) -> None:
    data = liked.train
    names = []
    for options in ({}, {"sampler": "hard"}, {"negatives": 2}, {"propensity_exponent": 0.5}):
        model = MatrixFactorization(loss="bpr", epochs=1, factors=2, **options)
        model.fit(data, run=QUIET)
        trainer = model._trainer(model._settings(), data.histories, "cpu")
        names.append(type(trainer).__name__)
    assert names == ["KernelTrainer", "TorchTrainer", "TorchTrainer", "TorchTrainer"]


# -- ratings ------------------------------------------------------------------------------------


def test_huber_predicts_ratings(movies: Dataset) -> None:
    split = RandomPerUser(test=0.1, seed=1).split(movies)
    model = MatrixFactorization(loss="huber", factors=16).fit(split.train, run=QUIET)
    truth, queries = split.test.truth, split.test.queries
    errors = {}
    for name, asked in {"known": queries, "strangers": Queries.of(queries.histories)}.items():
        predicted = model.predict_pairs(asked, truth.rows_of_events(), truth.items)
        errors[name] = tm.metrics.rmse(predicted, truth.values)
    # 0.94 by a mean per user and item alone.
    assert errors["known"] < 0.93 and errors["strangers"] < errors["known"] + 0.03


def test_huber_fold_in_finds_the_minimum() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 3)).astype(np.float32)
    biases = rng.normal(size=40).astype(np.float32)
    histories = Histories.from_lists([rng.integers(1, 40, 30)])
    values = (vectors[histories.items] @ [0.5, -0.3, 0.2] + rng.standard_t(3, 30)).astype(
        np.float32
    )
    found = huber_fold_in(histories, values, vectors, biases, 0.05, 0.02)[0].astype(np.float64)

    def objective(p: np.ndarray) -> float:
        errors = values - vectors[histories.items] @ p[:3] - p[3] - biases[histories.items]
        size = np.abs(errors)
        assert (size > 1).any() and (size < 1).any()
        cost = np.where(size <= 1, size**2, 2 * size - 1).sum()
        return float(cost + 30 * (0.05 * p[:3] @ p[:3] + 0.02 * p[3] ** 2))

    for _ in range(20):
        assert objective(found + rng.normal(scale=0.05, size=4)) > objective(found)


# -- what is minimised --------------------------------------------------------------------------


def small_trainer(loss: str, **options: Any) -> tuple[Any, Histories]:
    histories = Histories.from_lists([[], [1, 2, 2, 0], [3], [], [1, 4]])
    model = MatrixFactorization(loss=loss, factors=3, **options)
    kind = SoftmaxTrainer if "softmax" in loss else TorchTrainer
    more = () if "softmax" in loss else (0.0,)
    trainer = kind(model._settings(), histories, 6, *more, "cpu")
    rng = np.random.default_rng(0)
    trainer.restore(
        {
            "P": rng.normal(size=(5, 3)).astype(np.float32),
            "Q": rng.normal(size=(6, 3)).astype(np.float32),
            "b": np.zeros(5, np.float32),
            "c": rng.normal(size=6).astype(np.float32),
        }
    )
    return trainer, histories


def test_softmax_trains_on_the_cross_entropy_of_all_known_events() -> None:
    trainer, histories = small_trainer("softmax", propensity_exponent=0.5)
    state = trainer.state()
    scores = state["P"] @ state["Q"].T + state["c"]
    log_p = scores - np.log(np.exp(scores[:, 1:]).sum(1, keepdims=True))
    known = histories.items > 0
    users, items = histories.rows_of_events()[known], histories.items[known]
    weights = propensity_weights(np.bincount(items, minlength=6), 0.5)[items]
    expected = -(weights * log_p[users, items]).mean()
    measured = trainer.train_epoch(0, np.random.default_rng(0))
    assert measured["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_users_are_trained_with_all_of_their_events() -> None:
    trainer, _ = small_trainer("softmax")
    rows, events = trainer._events_of(torch.tensor([4, 2, 1]))
    items = trainer.item_rows[events]
    assert rows.tolist() == [0, 0, 1, 2, 2, 2]
    assert items.tolist() == [1, 4, 3, 1, 2, 2]


def test_propensity_weights() -> None:
    counts = np.array([0, 400, 100, 4, 1, 0])
    assert propensity_weights(counts, 0.0).tolist() == [1.0] * 6
    weights = propensity_weights(counts, 0.5)
    # 1, 2 and 10 times the most popular item's; 20 times is cut to 10.
    np.testing.assert_allclose(weights / weights[1], [10, 1, 2, 10, 10, 10], rtol=1e-6)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_propensities_bring_what_is_rare(liked: Split) -> None:
    popularity = []
    for exponent in (0.0, 0.7):
        model = MatrixFactorization(**RANKING[0], factors=16, propensity_exponent=exponent).fit(
            liked.train, run=QUIET
        )
        answers = model.answer(liked.test.queries, 10)
        popularity.append(model.popularity[answers.items].mean())
    assert popularity[1] < 0.9 * popularity[0]
