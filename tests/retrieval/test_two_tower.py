"""TwoTower: the loss of the paper, places for new items by their attributes, missing tables."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.two_tower import InBatchSoftmax, TwoTower
from tastemap.sampling.streaming import StreamingFrequency
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {
    "dim": 16, "hidden": 32, "batch_size": 64, "learning_rate": 0.01, "epochs": 25,
}  # fmt: skip
NEW = ["new-comedy", "new-drama"]


def tastes() -> Dataset:
    """Two tastes with twelve items each, two new items that nobody has chosen, and one of which
    nothing is known at all."""
    rng = np.random.default_rng(0)
    events = [
        (f"u{taste}-{user}", f"i{taste}-{item}", float(step))
        for taste in range(2)
        for user in range(15)
        for step, item in enumerate(rng.permutation(12)[:8])
    ]
    known = [f"i{taste}-{item}" for taste in range(2) for item in range(12)]
    genres = ["comedy"] * 12 + ["drama"] * 12 + ["comedy", "drama", None]
    items = pl.DataFrame({"item": [*known, *NEW, "blank"], "genre": genres})
    frame = pl.DataFrame(events, schema=["user", "item", "time"], orient="row")
    # Items that only the table knows come into the vocabulary by an event that is taken out again.
    extra = pl.DataFrame({"user": "nobody", "item": [*NEW, "blank"], "time": [0.0, 1.0, 2.0]})
    data = Dataset.from_frame(pl.concat([frame, extra]), items=items)
    nobody = data.users.rows(["nobody"])[0]
    return data.with_events(data.histories.rows_of_events() != nobody)


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return TwoTower(**SMALL, hot_dropout=0.3).fit(tastes(), run=QUIET)


def test_a_new_item_lies_near_its_kind_and_is_recommended(model: TwoTower) -> None:
    vectors, rows = model.item_vectors(), model.items.rows
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    comedies, dramas = (vectors[rows([f"i{t}-{i}" for i in range(12)])] for t in range(2))
    for new, own, other in zip(
        vectors[rows(NEW)], (comedies, dramas), (dramas, comedies), strict=True
    ):
        assert (own @ new).mean() > (other @ new).mean() + 0.3
    # Of two new items each taste gets its own first.
    found = model.recommend(["u0-1", "u1-1"], k=1, among=NEW)
    assert found["item"].to_list() == NEW
    similar = model.similar(NEW, k=8)
    kinds = similar["similar"].str.slice(0, 2).to_list()
    assert kinds[:8].count("i0") >= 6 and kinds[8:].count("i1") >= 6


def test_the_half_of_a_new_item_is_foretold_by_regression(model: TwoTower) -> None:
    tower, rows = copy.deepcopy(model.network.tower), torch.from_numpy(model.items.rows(NEW))
    both, regression = tower(rows), tower.regression
    foretold = functional.normalize(regression(tower.known, rows), dim=1)
    chosen = tower(torch.arange(1, 25))
    regression.weight.zero_()
    regression.mean.zero_()
    torch.testing.assert_close(both, functional.normalize(tower(rows) + foretold, dim=1))
    torch.testing.assert_close(chosen, tower(torch.arange(1, 25)), rtol=0, atol=0)
    # Vectors of one kind alone foretell that kind.
    own = torch.stack([chosen[:12].mean(0), chosen[12:].mean(0)])
    assert (functional.normalize(own, dim=1) @ foretold.T).argmax(0).tolist() == [0, 1]
    # Nothing is learned by it where no item is new.
    tower.chosen.fill_(True)
    tower.regress()
    assert not regression.weight.any()


def test_decay_holds_back_what_is_learned_of_attributes_alone() -> None:
    free, held = (
        TwoTower(**{**SMALL, "epochs": 3}, attribute_decay=decay).fit(tastes(), run=QUIET).network
        for decay in (0.0, 10.0)
    )
    assert held.tower.bag.weight.norm() < 0.9 * free.tower.bag.weight.norm()
    # At random it is a little more or less.
    assert held.items.weight.norm() > 0.9 * free.items.weight.norm()


def test_a_history_of_new_items_counts(model: TwoTower) -> None:
    queries = Queries.of(Histories.from_lists([[row] for row in model.items.rows([*NEW, "blank"])]))
    assert model.knows(queries).tolist() == [True, True, False]
    best = model.items.ids(model.answer(queries.slice(0, 2), 5).items)
    assert [id_[:2] for id_ in best].count("i0") >= 4 or best[:5] != best[5:]
    assert sum(id_.startswith("i0") for id_ in best[:5]) >= 4
    assert sum(id_.startswith("i1") for id_ in best[5:]) >= 4


def test_what_nothing_is_known_of_comes_last(model: TwoTower) -> None:
    scores = model.score(model.data.queries(model.users.rows(["u0-1", "u1-1"])))
    own = model.items.rows([f"i{t}-{i}" for t in range(2) for i in range(12)])
    blank = scores[:, model.items.rows(["blank"])]
    assert (scores[:, own].max(1) > blank[:, 0] + 0.3).all()


def test_it_is_the_same_after_loading(model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = tm.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.item_vectors(), model.item_vectors())


def test_vectors_are_made_again_after_more_training() -> None:
    model = TwoTower(**{**SMALL, "epochs": 1}).fit(tastes(), run=QUIET)
    before = model.item_vectors()
    assert model.item_vectors() is before
    model.network.train()
    with torch.no_grad():
        model.network.items.weight += 1
    model.network.eval()
    assert (model.item_vectors() != before).any()


@pytest.mark.parametrize("negatives", [0, 40])
def test_the_loss_is_that_of_the_paper(negatives: int) -> None:
    """A plain loop over pairs, with accidental hits and repeats left out."""
    model = TwoTower(**{**SMALL, "epochs": 1, "negatives": negatives, "temperature": 0.2})
    model.fit(tastes(), run=QUIET)
    batches = SequenceBatches(model.histories, 9)
    (batch,) = batches.epoch(10_000, np.random.default_rng(0))
    frequencies, same = (StreamingFrequency(500, rate=0.1, first_gap=3.0) for _ in range(2))
    objective = InBatchSoftmax(model.network, frequencies, negatives, 0.2)
    with torch.no_grad():
        found = model.network(batch)
        loss = objective(found, batch, torch.Generator().manual_seed(1))
    assert batch.targets is not None
    same.update(batch.targets)
    at = torch.randint(24, (negatives,), generator=torch.Generator().manual_seed(1))
    seen = np.flatnonzero(model.popularity)
    present = {0, *batch.targets.tolist(), *seen[at.numpy()].tolist()}
    vectors = torch.from_numpy(model.item_vectors())

    def corrected(u: torch.Tensor, item: int) -> float:
        in_batch = same.probability(torch.tensor([item])).item()
        q = 1 - (1 - in_batch) * (1 - 1 / 24) ** negatives if item else 1.0
        return float(u @ vectors[item]) / 0.2 - math.log(q)

    losses = []
    for u, target in zip(found, batch.targets.tolist(), strict=True):
        # The target is one of the sample, once, and is corrected as all others are.
        others = [math.exp(corrected(u, item)) for item in present - {target}]
        own = corrected(u, target)
        losses.append(math.log(math.exp(own) + sum(others)) - own)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_frequencies_of_a_fit_are_those_of_its_batches() -> None:
    model = TwoTower(**{**SMALL, "epochs": 1}).fit(tastes(), run=QUIET)
    objective = model.make_objective(model.histories, "cpu")
    assert isinstance(objective, InBatchSoftmax)
    batches = SequenceBatches(model.histories, model.max_length)
    rng, held, steps = np.random.default_rng(0), np.zeros(len(model.items)), 0
    for _ in range(120):
        for batch in batches.epoch(32, rng):
            assert batch.targets is not None
            objective.frequencies.update(batch.targets)
            held[np.unique(batch.targets)] += 1
            steps += 1
    rows = np.flatnonzero(held)
    found = objective.frequencies.probability(torch.from_numpy(rows)).numpy()
    # Gaps as even as these leave an error of a few per cent of the mean.
    np.testing.assert_allclose(found, held[rows] / steps, rtol=0.35)
    assert abs(np.log(found / (held[rows] / steps)).mean()) < 0.08


@pytest.mark.parametrize("missing", ["item_table", "user_table"])
def test_without_a_table_it_learns_from_the_rest(missing: str) -> None:
    data = tastes()
    users = pl.DataFrame({"user": data.users.ids(np.arange(1, len(data.users)))})
    users = users.with_columns(job=pl.col("user").str.slice(0, 2))
    data = replace(replace(data, user_table=users), **{missing: None})
    model = TwoTower(**SMALL).fit(data, run=QUIET)
    found = model.recommend(["u0-3", "u1-4"], k=4, exclude_seen=False)
    assert (found["user"].str.slice(1, 1) == found["item"].str.slice(1, 1)).mean() > 0.8
