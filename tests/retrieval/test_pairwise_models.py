"""BPR, WARP and LogisticMF: what is special to them, and both ways of training."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser, Split
from tastemap.retrieval import bpr, logistic_mf, warp
from tastemap.retrieval.bpr import BPR
from tastemap.retrieval.logistic_mf import LogisticMF
from tastemap.retrieval.warp import WARP, rank_weights
from tastemap.training.loop import train
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)
MODELS: list[Any] = [BPR(epochs=8), WARP(epochs=8), LogisticMF(epochs=8, factors=16)]


def name_of(model: Any) -> str:
    return type(model).__name__


@pytest.fixture(scope="module")
def split(liked_movies: Dataset) -> Split:
    return RandomPerUser(test=0.2, validation=0.1, seed=0).split(liked_movies)


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_the_learned_vector_is_used_while_a_history_is_unchanged(model: Any, split: Split) -> None:
    fitted = type(model)(**{**model.hyperparameter_values(), "epochs": 3})
    fitted.fit(split.train, run=QUIET)
    queries = fitted.data.queries(np.array([3, 4, 5]))
    vectors = fitted.encode_queries(queries)
    np.testing.assert_array_equal(vectors[:, :-1], fitted.user_factors[[3, 4, 5]])
    assert (vectors[:, -1] == 1).all()
    h = queries.histories
    changed = replace(queries, histories=replace(h, items=h.items.copy()))
    changed.histories.items[h.offsets[1]] = 1 + h.items[h.offsets[1]] % 100
    got = fitted.encode_queries(changed)
    np.testing.assert_array_equal(got[[0, 2]], vectors[[0, 2]])
    assert not np.allclose(got[1], vectors[1], atol=1e-3)
    np.testing.assert_allclose(
        fitted.score(queries), vectors @ fitted.item_vectors().T, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_strangers_with_the_history_of_a_user_are_served_as_well(model: Any, split: Split) -> None:
    model.fit(split.train, run=QUIET)
    holdout = replace(split.validation, queries=split.validation.queries)
    known = tm.evaluate(model, holdout, metrics=["ndcg@10"])["ndcg@10"]
    strangers = replace(holdout, queries=Queries.of(holdout.queries.histories))
    folded = tm.evaluate(model, strangers, metrics=["ndcg@10"])["ndcg@10"]
    assert known > 0.08
    assert folded > 0.85 * known


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_early_stopping_keeps_the_best_epoch(model: Any, split: Split) -> None:
    small = type(model)(factors=8, epochs=6, patience=1)
    small.fit(split.train, validation=split.validation, run=QUIET)
    history = small.training.history
    best = max(history, key=lambda epoch: epoch["ndcg@10"])
    assert small.training.best_epoch == best["epoch"]
    got = tm.evaluate(small, split.validation, metrics=["ndcg@10"])["ndcg@10"]
    assert got == pytest.approx(best["ndcg@10"], abs=1e-6)


@pytest.mark.parametrize(
    ("module", "model"),
    [
        (bpr, BPR(epochs=6, batch_size=256)),
        (warp, WARP(epochs=6, batch_size=256)),
        (logistic_mf, LogisticMF(factors=16, epochs=8)),
    ],
    ids=["bpr", "warp", "logistic_mf"],
)
def test_torch_learns_what_the_kernels_learn(module: Any, model: Any, split: Split) -> None:
    compiled = type(model)(**model.hyperparameter_values()).fit(split.train, run=QUIET)
    model._data = split.train
    if isinstance(model, LogisticMF):
        weights = split.train.histories.to_csr(len(split.train.items))
        model.value_scale = np.ones(1)
        trainer = module.TorchTrainer(model, model._confidences(weights), "cpu")
    else:
        trainer = module.TorchTrainer(model, "cpu")
    train(trainer, epochs=model.epochs, seed=0, run=QUIET)
    model._set_factors(trainer.state())
    by_torch, by_kernel = (
        tm.evaluate(m, split.validation, metrics=["ndcg@10"])["ndcg@10"] for m in (model, compiled)
    )
    assert by_torch == pytest.approx(by_kernel, rel=0.15)
    if isinstance(model, LogisticMF):
        # The same steps from the same start: all that differs is rounding.
        np.testing.assert_allclose(model.item_biases, compiled.item_biases, rtol=0.02, atol=0.02)


def test_hard_negatives_rank_better_in_as_many_passes(split: Split) -> None:
    def ndcg(candidates: int) -> float:
        model = BPR(epochs=10, candidates=candidates).fit(split.train, run=QUIET)
        return float(tm.evaluate(model, split.validation, metrics=["ndcg@10"])["ndcg@10"])

    assert ndcg(4) > 1.05 * ndcg(1)


def test_fitting_copies_no_table() -> None:
    """There is no room for a second table where there are many users."""
    rng = np.random.default_rng(0)
    n_users, n_items = 20_000, 500
    users, items = (rng.integers(1, n, 40_000, dtype=np.int32) for n in (n_users, n_items))
    vocabularies = (tm.Vocabulary(list(range(n))) for n in (n_users, n_items))
    data = Dataset.from_events(*vocabularies, users, items)
    for model in (BPR(epochs=2), WARP(epochs=2)):
        model.fit(data, run=QUIET)
        tracemalloc.start()
        model.fit(data, run=QUIET)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The first fit's tables may go only when the second's take their place.
        tables = sum(array.nbytes for array in model.tensors().values())
        assert tables <= peak < 1.4 * tables


def test_rank_weights_are_harmonic_numbers_of_the_estimated_rank() -> None:
    got = rank_weights(n_items=11, trials=12)
    harmonic = np.cumsum(1 / np.arange(1, 11))
    expected = [harmonic[max(10 // trial, 1) - 1] for trial in range(1, 13)]
    np.testing.assert_allclose(got[1:], expected, rtol=1e-6)
    assert rank_weights(1, 3)[1:].tolist() == [1, 1, 1]


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd"])
def test_warp_learns_with_both_optimizers(optimizer: str) -> None:
    rng = np.random.default_rng(0)
    rows = [[]] + [list(rng.permutation(10)[:6] + 1 + 10 * (u % 2)) for u in range(20)]
    vocabularies = tm.Vocabulary(list(range(20))), tm.Vocabulary(list(range(20)))
    data = Dataset(*vocabularies, Histories.from_lists(rows))
    model = WARP(factors=4, epochs=60, optimizer=optimizer, regularization=0.01)
    scores = model.fit(data, run=QUIET).score(data.queries())
    own = np.arange(20)[:, None] % 2 == (np.arange(20) // 10)[None]
    assert (scores[:, 1:].argsort(axis=1)[:, -6:] // 10 == np.arange(20)[:, None] % 2).mean() > 0.95
    assert scores[:, 1:][own].mean() > scores[:, 1:][~own].mean() + 0.5


def test_logistic_mf_gives_probabilities_by_its_log_likelihood(split: Split) -> None:
    model = LogisticMF(factors=8, epochs=6).fit(split.train, run=QUIET)
    losses = [epoch["train_loss"] for epoch in model.training.history]
    assert losses[-1] < losses[0]
    # At the start every pair has p = 1/2 or nearly: ln 2 for each, and α more for the observed.
    assert losses[0] < np.log(2) * (1 + 5 * 0.05) + 0.1


def test_values_weigh_in_logistic_mf_where_they_are_asked_for(movies: Dataset) -> None:
    part = movies.with_events(np.arange(movies.n_events) < 5000)
    without = LogisticMF(factors=4, epochs=2).fit(part, run=QUIET)
    weighed = LogisticMF(factors=4, epochs=2, use_values=True).fit(part, run=QUIET)
    assert weighed.value_scale[0] == pytest.approx(part.histories.values.mean(), rel=1e-3)
    assert without.value_scale[0] == 1
    assert not np.allclose(weighed.item_biases, without.item_biases)
