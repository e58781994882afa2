"""SASRec: each objective learns, batches change nothing, an event changes the answer at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts import next_item
from tastemap.retrieval.sasrec import SASRec
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {"dim": 16, "max_length": 12, "batch_size": 64, "learning_rate": 0.01}
N_ITEMS = 30


PUBLISHED = {"block": "pre_norm", "feed_forward": "relu", "widening": 1, "positions": "learned"}


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "softmax"},
        {"objective": "sampled_softmax", "negatives": 10},
        {"objective": "bce", **PUBLISHED},
        {"objective": "gbce", "negatives": 10},
        {"objective": "softmax", "block": "post_norm"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_objective_learns_what_comes_next(settings: dict[str, Any], walks: Dataset) -> None:
    # As many passes of the Item2Vec as where data are dense: what is looked at comes after it.
    model = SASRec(**SMALL, **settings, epochs=25, dropout=0.0, item2vec_epochs=10)
    model.fit(walks, run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.8 * losses[0]
    starts = np.arange(20)
    found = model.recommend(histories=[[i, i + 1, i + 2] for i in starts.tolist()], k=1)
    assert (found["item"].to_numpy() == starts + 3).mean() > 0.8


@pytest.mark.parametrize("objective", ["sampled_softmax", "bce", "gbce"])
def test_many_items_have_sparse_gradients_and_learn_too(
    objective: str, walks: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_item, "_SPARSE_FROM", 1)
    settings = {**SMALL, "objective": objective, "negatives": 10}
    model = SASRec(**settings, epochs=10, dropout=0.0).fit(walks, run=QUIET)
    assert model.network.items.weight.grad is not None
    assert model.network.items.weight.grad.is_sparse
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.9 * losses[0]


def test_items_that_are_chosen_seldom_ask_for_more_dropout_and_passes() -> None:
    def by_data(events_each: int, **given: Any) -> dict[str, float]:
        model = SASRec(**given)
        user = np.repeat(np.arange(events_each), 4)
        model._data = Dataset.from_frame(
            pl.DataFrame({"user": user, "item": np.tile(np.arange(4), events_each)})
        )
        return model.by_data()

    assert by_data(260) == {"dropout": 0.2, "epochs": 12}
    assert by_data(13) == {"dropout": 0.4, "epochs": 16}
    assert by_data(1) == {"dropout": 0.5, "epochs": 20}
    assert by_data(13, dropout=0.1, epochs=3) == {"dropout": 0.1, "epochs": 3}


@pytest.fixture(scope="module")
def fitted(walks: Dataset) -> SASRec:
    return SASRec(**SMALL, epochs=3).fit(walks, run=QUIET)


def test_what_comes_later_changes_no_earlier_position(fitted: SASRec) -> None:
    history = [3, 4, 5, 9, 8]
    batch, longer = (
        SequenceBatches(Histories.from_lists([items]), fitted.max_length).recent()
        for items in (history, [*history, 20])
    )
    with torch.inference_mode():
        before, after = fitted.network(batch), fitted.network(longer)
    torch.testing.assert_close(after[:-1], before)


def test_items_are_the_first_layer_and_the_last(fitted: SASRec) -> None:
    vectors = fitted.item_vectors()
    assert vectors.shape == (len(fitted.items), 16)
    assert not vectors[0].any()
    tables = [p for p in fitted.network.parameters() if len(p) == len(fitted.items)]
    assert len(tables) == 1


def test_an_empty_history_has_no_vector(fitted: SASRec) -> None:
    queries = Queries.of(Histories.from_lists([[], [0], [5]]))
    vectors = fitted.encode_queries(queries)
    assert not vectors[:2].any() and vectors[2].any()
    assert fitted.knows(queries).tolist() == [False, False, True]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_any_number_of_heads_and_dimensions_goes_together(walks: Dataset, positions: str) -> None:
    settings = {**SMALL, "dim": 7, "heads": 3, "positions": positions}
    model = SASRec(**settings, epochs=1).fit(walks, run=QUIET)
    assert model.item_vectors().shape == (len(walks.items), 7)
