"""MemoryNetwork: both memories learn, scores are what is published, batches change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval import memory_network
from tastemap.retrieval.memory_network import MemoryNetwork
from tastemap.retrieval.parts import next_item
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {"dim": 16, "slots": 4, "max_length": 12, "batch_size": 64}
LEVELS = ["item", "feature"]
N_ITEMS = 30


@pytest.mark.parametrize("objective", ["sampled_softmax", "bce"])
@pytest.mark.parametrize("level", LEVELS)
def test_both_memories_learn_what_comes_next(level: str, objective: str, walks: Dataset) -> None:
    chosen = {**SMALL, "level": level, "objective": objective, "negatives": 10}
    # One negative a position says less than ten.
    epochs = 15 if objective == "sampled_softmax" else 30
    model = MemoryNetwork(**chosen, epochs=epochs, learning_rate=0.02, dropout=0.0)
    model.fit(walks, run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.8 * losses[0]
    starts = np.arange(20)
    found = model.recommend(histories=[[i, i + 1, i + 2] for i in starts.tolist()], k=1)
    assert (found["item"].to_numpy() == starts + 3).mean() > 0.8


@pytest.mark.parametrize("level", LEVELS)
def test_many_items_have_sparse_gradients_and_learn_too(
    level: str, walks: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_item, "_SPARSE_FROM", 1)
    chosen = {**SMALL, "level": level, "negatives": 10, "dropout": 0.0}
    model = MemoryNetwork(**chosen, epochs=10, learning_rate=0.02).fit(walks, run=QUIET)
    for table in (model.network.items, model.network.chosen):
        assert table.weight.grad is not None and table.weight.grad.is_sparse
        assert not table.weight[0].any()
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.9 * losses[0]


@pytest.fixture(scope="module", params=LEVELS)
def fitted(request: pytest.FixtureRequest, walks: Dataset) -> MemoryNetwork:
    # Long and sharp enough that the memory has a say.
    chosen = {**SMALL, "level": request.param, "merge": 0.7, "strength": 2.0}
    return MemoryNetwork(**chosen, epochs=5, learning_rate=0.02).fit(walks, run=QUIET)


def plain_scores(model: MemoryNetwork, history: list[int]) -> list[float]:
    """(p* + α p^m) · q of every item, as published: item by item, slot by slot, event by event."""
    network, beta = model.network, model.strength
    q, y = network.items.weight.detach(), network.chosen.weight.detach()
    recent = history[-model.max_length :]
    intrinsic = sum((y[item] for item in recent), torch.zeros(model.dim)) / len(recent) ** 0.5
    if network.features is None:
        slots = [q[item] for item in recent[-model.slots :]]
        slots += [torch.zeros(model.dim)] * (model.slots - len(slots))
        keys = slots
    else:
        features = network.features
        keys = list(features.keys.detach())
        slots = [torch.zeros(model.dim)] * model.slots
        for item in recent:
            z = torch.softmax(torch.stack([beta * (key @ q[item]) for key in keys]), 0)
            erase = torch.sigmoid(features.erase(q[item])).detach()
            add = torch.tanh(features.add(q[item])).detach()
            slots = [m * (1 - zk * erase) + zk * add for m, zk in zip(slots, z, strict=True)]
    scores = []
    for item in q:
        z = torch.softmax(torch.stack([beta * (key @ item) for key in keys]), 0)
        read = sum((zk * m for m, zk in zip(slots, z, strict=True)), torch.zeros(model.dim))
        scores.append(float((intrinsic + model.merge * read) @ item))
    return scores


@pytest.mark.parametrize("history", [[5], [3, 4, 9, 2, 2, 7], [*range(1, 20)]], ids=len)
def test_scores_are_those_of_the_paper(fitted: MemoryNetwork, history: list[int]) -> None:
    queries = Queries.of(Histories.from_lists([history]))
    np.testing.assert_allclose(
        fitted.score(queries)[0], plain_scores(fitted, history), rtol=1e-3, atol=1e-4
    )


def test_a_full_sample_of_negatives_is_the_softmax_over_all_items(fitted: MemoryNetwork) -> None:
    batches = SequenceBatches(Histories.from_lists([[3, 4, 9, 2], [8, 1, 30]]), 12)
    (batch,) = batches.epoch(100, np.random.default_rng(0))
    objective = memory_network.SampledSoftmax(fitted.network, 1000)
    with torch.inference_mode():
        found = fitted.network(batch)
        scores = fitted.network.scores(found, fitted.network.items.weight[1:])
        loss = objective(found, batch, torch.Generator().manual_seed(0))
    assert batch.targets is not None
    expected = torch.nn.functional.cross_entropy(scores, batch.targets - 1)
    torch.testing.assert_close(loss, expected)


def test_tiles_of_queries_change_nothing(
    fitted: MemoryNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = fitted.data.queries(np.arange(1, 30))
    whole = fitted.score(queries)
    monkeypatch.setattr(memory_network, "_TILE_NUMBERS", 1)
    np.testing.assert_allclose(fitted.score(queries), whole, rtol=1e-4, atol=1e-5)


def test_what_comes_later_changes_no_earlier_position(fitted: MemoryNetwork) -> None:
    history = [3, 4, 5, 9, 8]
    batch, longer = (
        SequenceBatches(Histories.from_lists([items]), fitted.max_length).recent()
        for items in (history, [*history, 20])
    )
    with torch.inference_mode():
        before, after = fitted.network(batch), fitted.network(longer)
    torch.testing.assert_close(after[:-1], before)


def test_an_empty_history_has_no_score(fitted: MemoryNetwork) -> None:
    queries = Queries.of(Histories.from_lists([[], [0], [5]]))
    scores = fitted.score(queries)
    assert not scores[:2].any() and scores[2].any()
    assert fitted.knows(queries).tolist() == [False, False, True]
