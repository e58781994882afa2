"""Item2Vec: its corpus, its answers, and both ways of training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import LeaveOneOut, Split
from tastemap.errors import DataError
from tastemap.retrieval import item2vec_training
from tastemap.retrieval.item2vec import Item2Vec
from tastemap.retrieval.item2vec_training import (
    TorchTrainer,
    first_vectors,
    keep_probabilities,
    passes,
    sessions,
)
from tastemap.training.loop import train
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)


@pytest.fixture(scope="module")
def split(movies: Dataset) -> Split:
    return LeaveOneOut().split(movies)


@pytest.fixture(scope="module")
def fitted(split: Split) -> Item2Vec:
    return Item2Vec().fit(split.train, run=QUIET)


def ndcg(model: Item2Vec, split: Split) -> float:
    assert split.validation is not None
    return float(tm.evaluate(model, split.validation, metrics=["ndcg@10"])["ndcg@10"])


def test_it_foretells_the_next_item(fitted: Item2Vec, split: Split) -> None:
    assert 0.11 < ndcg(fitted, split) < 0.15


def test_frequent_items_are_thinned_as_word2vec_does() -> None:
    counts = np.array([0, 900, 90, 9, 1])
    got = keep_probabilities(counts, 0.01)
    f = counts[1:] / 1000
    np.testing.assert_allclose(got[1:], np.minimum(np.sqrt(0.01 / f) + 0.01 / f, 1))
    # Equation 5 of the paper, where an item is frequent.
    assert got[1] == pytest.approx(np.sqrt(0.01 / 0.9), rel=0.15)
    assert got[3] == got[4] == 1
    assert (keep_probabilities(counts, 0.0) == 1).all()


def test_pauses_cut_histories() -> None:
    h = Histories.from_lists(
        [[1, 2, 0, 3, 4], [], [5, 6], [7]],
        times=[[0, 60, 90, 120, 1000], [], [1060, 4661], [4661]],
    )
    offsets, items = sessions(h, None)
    assert items.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert offsets.tolist() == [0, 4, 4, 6, 7]
    for gap, expected in ((10, [0, 3, 4, 5, 6, 7]), (60, [0, 4, 5, 6, 7]), (61, [0, 4, 6, 7])):
        assert sessions(h, gap)[0].tolist() == expected


def test_sessions_keep_what_is_far_apart_from_meeting() -> None:
    """Items of odd and of even rows are chosen in turn, with an hour between."""
    rng = np.random.default_rng(0)
    lists, times = [], []
    for _ in range(200):
        odd, even = rng.permutation(10)[:5] * 2 + 1, rng.permutation(10)[:5] * 2 + 2
        lists.append(np.concatenate([odd, even]))
        times.append([*range(5), *range(3600, 3605)])
    vocabularies = tm.Vocabulary(list(range(200))), tm.Vocabulary(list(range(20)))
    h = Histories.from_lists([[], *lists], times=[[], *times])
    data = Dataset(*vocabularies, h)
    settings: dict[str, Any] = {"factors": 8, "epochs": 20, "learning_rate": 0.1, "subsample": 0}
    same = np.arange(1, 21)[:, None] % 2 == np.arange(1, 21) % 2
    for gap, low, high in ((None, -0.5, 1.0), (30.0, 1.0, 9.0)):
        model = Item2Vec(session_gap_minutes=gap, **settings).fit(data, run=QUIET)
        x = model.input_vectors[1:] @ model.item_factors[1:].T
        gained = x[same & ~np.eye(20, dtype=bool)].mean() - x[~same].mean()
        assert low < gained < high


def test_sessions_without_times_are_refused() -> None:
    vocabularies = tm.Vocabulary(list(range(2))), tm.Vocabulary(list(range(3)))
    data = Dataset(*vocabularies, Histories.from_lists([[], [1, 2, 2]]), has_times=False)
    with pytest.raises(DataError, match="times"):
        Item2Vec(session_gap_minutes=30).fit(data, run=QUIET)


def test_one_more_event_changes_the_top_ten_at_once(fitted: Item2Vec, split: Split) -> None:
    row = np.array([7])
    before = fitted.data.queries(row)
    answers = [fitted.answer(before, 10).items.tolist()]
    seconds = []
    unseen = np.setdiff1d(np.arange(1, 400, dtype=np.int32), before.histories.items)
    for item in unseen[:20]:
        start = time.perf_counter()
        event = Histories.from_lists([[item]], times=[[2e9]])
        after = Queries.of(before.histories.append(event), users=before.users)
        answers.append(fitted.answer(after, 10).items.tolist())
        seconds.append(time.perf_counter() - start)
    assert all(answer != answers[0] for answer in answers[1:])
    # The median, since other work on the machine may hold any single one up.
    assert np.median(seconds) < 0.02


def test_a_history_is_the_mean_of_its_inputs_the_newest_first(fitted: Item2Vec) -> None:
    h = fitted.half_life
    weights = 0.5 ** (np.array([2, 1, 0]) / h)
    expected = weights @ fitted.input_vectors[[5, 9, 5]] / weights.sum()
    query = Queries.of(Histories.from_lists([[5, 0, 9, 5], []]))
    vectors = fitted.encode_queries(query)
    np.testing.assert_allclose(vectors[0, :-1], expected, rtol=1e-5)
    np.testing.assert_array_equal(vectors[1, :-1], 0)
    np.testing.assert_allclose(
        fitted.score(query), vectors @ fitted.item_vectors().T, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("a_pass, expected", [(100, 10), (25, 20), (20, 25), (12, 40), (1, 40)])
def test_items_that_are_chosen_seldom_are_met_in_more_passes(a_pass: int, expected: int) -> None:
    # What nobody chose does not count.
    assert passes(np.array([0, a_pass - 1, 0, a_pass + 1])) == expected


def test_no_events_make_no_more_passes_than_few() -> None:
    assert passes(np.zeros(3, np.int64)) == 40


def test_passes_that_were_asked_for_are_made(walks: Dataset) -> None:
    def made(epochs: int | None) -> int:
        model = Item2Vec(factors=4, epochs=epochs).fit(walks, run=QUIET)
        return len(model.training.history)

    assert made(3) == 3
    assert made(None) == passes(walks.item_counts)


def test_what_was_never_chosen_comes_last() -> None:
    vocabularies = tm.Vocabulary(list(range(4))), tm.Vocabulary(list(range(6)))
    data = Dataset(*vocabularies, Histories.from_lists([[], [1, 2, 3], [3, 2, 5], [5, 1], [2, 1]]))
    model = Item2Vec(epochs=3).fit(data, run=QUIET)
    assert set(model.recommend(histories=[[0]], k=6)["item"][-2:]) == {3, 5}
    assert not model.input_vectors[[0, 4, 6]].any()


def test_vectors_come_by_the_ids_of_items(fitted: Item2Vec) -> None:
    ids = ["50", "no such item", "181"]
    vectors = fitted.vectors_of(ids)
    assert vectors.shape == (3, fitted.factors)
    np.testing.assert_array_equal(vectors[2], fitted.input_vectors[fitted.items.rows(["181"])[0]])
    assert not vectors[1].any()


def test_sets_know_no_order(split: Split) -> None:
    """Histories backwards are the same sets."""
    h = split.train.histories
    turned = h.take(np.arange(len(h)))
    for row in range(len(h)):
        turned.items[h.offsets[row] : h.offsets[row + 1]] = h.items_of(row)[::-1]

    def vectors(ordered: bool, histories: Histories) -> Any:
        data = Dataset(split.train.users, split.train.items, histories)
        model = Item2Vec(ordered=ordered, epochs=4, learning_rate=0.1)
        return model.fit(data, run=QUIET).similarity(np.arange(1, 60, dtype=np.int32))[:, 1:60]

    def alike(first: Any, second: Any) -> float:
        return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])

    in_order = vectors(True, h)
    as_set, as_turned_set = vectors(False, h), vectors(False, turned)
    assert alike(as_set, as_turned_set) > alike(as_set, in_order) + 0.02


def test_early_stopping_keeps_the_best_epoch(split: Split) -> None:
    model = Item2Vec(factors=8, epochs=5, patience=1)
    model.fit(split.train, validation=split.validation, run=QUIET)
    best = max(model.training.history, key=lambda epoch: epoch["ndcg@10"])
    assert model.training.best_epoch == best["epoch"]
    assert ndcg(model, split) == pytest.approx(best["ndcg@10"], abs=1e-6)


def test_an_epoch_in_parts_learns_as_well(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ndcg(Item2Vec(epochs=5).fit(split.train, run=QUIET), split)
    monkeypatch.setattr(item2vec_training, "_PAIRS_AT_A_TIME", 20_000)
    parts = ndcg(Item2Vec(epochs=5).fit(split.train, run=QUIET), split)
    assert parts == pytest.approx(whole, rel=0.1)


def test_torch_learns_what_the_kernel_learns(split: Split) -> None:
    settings: dict[str, Any] = {"factors": 16, "window": 2, "negatives": 3, "epochs": 4}
    model = Item2Vec(learning_rate=0.05, **settings)
    by_kernel = ndcg(model.fit(split.train, run=QUIET), split)
    start = first_vectors(split.train.item_counts, model.factors, 0)
    trainer = TorchTrainer(model, split.train.histories, start, "cpu")
    training = train(trainer, epochs=model.epochs, seed=0, run=QUIET)
    losses = [t.history[-1]["train_loss"] for t in (training, model.training)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    model._set_vectors(trainer.state())
    assert ndcg(model, split) == pytest.approx(by_kernel, rel=0.15)
    kept = trainer.state()
    trainer.restore({name: array + 1 for name, array in kept.items()})
    trainer.restore(kept)
    np.testing.assert_array_equal(trainer.state()["inputs"], kept["inputs"])
