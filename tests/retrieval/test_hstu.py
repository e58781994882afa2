"""HSTU: it learns from order and from times, batches change nothing, an event counts at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.hstu import HSTU
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {"dim": 16, "max_length": 12, "batch_size": 64, "learning_rate": 0.01}
N_ITEMS = 30
MINUTE, DAY = 60.0, 86_400.0


@pytest.fixture(scope="module")
def walks() -> pl.DataFrame:
    """80 users who go from item to item: after item i comes i + 1, or i + 2 where a day and not a
    minute had gone by before item i; seldom another."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        item, now, waited = int(rng.integers(N_ITEMS)), 1e9 + user, MINUTE
        for _ in range(int(rng.integers(8, 25))):
            rows.append((user, item, now))
            step = 1 if waited == MINUTE else 2
            item = (item + step) % N_ITEMS if rng.random() < 0.95 else int(rng.integers(N_ITEMS))
            waited = float(rng.choice([MINUTE, DAY]))
            now += waited
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


@pytest.fixture(scope="module")
def fitted(walks: pl.DataFrame) -> HSTU:
    return HSTU(**SMALL, epochs=12, dropout=0.0).fit(Dataset.from_frame(walks), run=QUIET)


def asked(model: HSTU, waited: float, shift: float = 0.0) -> tuple[Queries, NDArray[np.int64]]:
    """Three events each, with so many seconds before the last, and the item of the last."""
    items = model.items.rows(np.arange(N_ITEMS))
    rows = [[items[i - 2], items[i - 1], items[i]] for i in range(N_ITEMS)]
    times = [shift + np.cumsum([1e9, MINUTE, waited])] * N_ITEMS
    return Queries.of(Histories.from_lists(rows, times=times)), np.arange(N_ITEMS)


@pytest.mark.parametrize(("waited", "step"), [(MINUTE, 1), (DAY, 2)])
def test_it_learns_what_comes_next_from_order_and_times(
    fitted: HSTU, waited: float, step: int
) -> None:
    losses = [epoch["loss"] for epoch in fitted.training.history]
    assert losses[-1] < 0.5 * losses[0]
    queries, last = asked(fitted, waited)
    expected = fitted.items.rows((last + step) % N_ITEMS)
    assert (fitted.answer(queries, 1).items == expected).mean() > 0.8


def test_without_times_it_learns_from_order_alone(walks: pl.DataFrame) -> None:
    data = Dataset.from_frame(walks.drop("timestamp"))
    model = HSTU(**SMALL, epochs=10, dropout=0.0).fit(data, run=QUIET)
    assert all(unit.bias.of_times is None for unit in model.network.units)
    (at_once, last), (late, _) = asked(model, 0.0), asked(model, DAY)
    np.testing.assert_array_equal(model.encode_queries(at_once), model.encode_queries(late))
    # Both that come next are there, since nothing tells which.
    best = model.answer(at_once, 2).padded(2)
    both = np.stack([model.items.rows((last + step) % N_ITEMS) for step in (1, 2)], 1)
    assert (np.sort(best, 1) == np.sort(both, 1)).all(1).mean() > 0.8


def test_all_times_shifted_give_the_same_vectors(fitted: HSTU) -> None:
    (here, _), (there, _) = asked(fitted, DAY), asked(fitted, DAY, shift=1e6)
    np.testing.assert_array_equal(fitted.encode_queries(here), fitted.encode_queries(there))


EVENTS = st.tuples(st.integers(0, N_ITEMS), st.integers(1, 10_000_000))
HISTORIES = st.lists(st.lists(EVENTS, max_size=20), min_size=1, max_size=12)


@given(HISTORIES)
def test_histories_are_encoded_together_as_one_by_one(
    fitted: HSTU, histories: list[list[tuple[int, int]]]
) -> None:
    items = [[item for item, _ in row] for row in histories]
    times = [np.cumsum([gap for _, gap in row]).astype(float) for row in histories]
    queries = Queries.of(Histories.from_lists(items, times=times))
    alone = [fitted.encode_queries(part) for _, part in queries.tiles(1)]
    together = fitted.encode_queries(queries)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-3, atol=1e-4)


def test_what_comes_later_changes_no_earlier_position(fitted: HSTU) -> None:
    events = [(3, 1e9), (4, 1e9 + 5), (5, 1e9 + DAY), (9, 1.1e9), (20, 1.2e9)]
    batch, longer = (
        SequenceBatches(
            Histories.from_lists([[i for i, _ in part]], times=[[t for _, t in part]]),
            fitted.max_length,
        ).recent()
        for part in (events[:4], events)
    )
    with torch.inference_mode():
        before, after = fitted.network(batch), fitted.network(longer)
    torch.testing.assert_close(after[:-1], before)


def test_an_empty_history_has_no_vector(fitted: HSTU) -> None:
    queries = Queries.of(Histories.from_lists([[], [0], [5]]))
    vectors = fitted.encode_queries(queries)
    assert not vectors[:2].any() and vectors[2].any()
    assert fitted.knows(queries).tolist() == [False, False, True]


@pytest.mark.parametrize("objective", ["sampled_softmax", "bce", "gbce"])
def test_every_objective_learns(objective: str, walks: pl.DataFrame) -> None:
    settings = {**SMALL, "objective": objective, "negatives": 10, "dim": 7, "heads": 3}
    model = HSTU(**settings, epochs=5, dropout=0.0).fit(Dataset.from_frame(walks), run=QUIET)
    assert model.item_vectors().shape == (len(model.items), 7)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.9 * losses[0]
