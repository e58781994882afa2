"""BERT4Rec: the published network, what is hidden stays hidden, an event changes the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.bert4rec import BERT4Rec, BERT4RecNetwork
from tastemap.training.masked_batches import MaskedBatches
from tastemap.training.module import generator_of
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {"dim": 16, "max_length": 12, "batch_size": 64, "learning_rate": 0.01}
PUBLISHED = {
    "block": "post_norm", "feed_forward": "gelu", "widening": 4, "positions": "learned",
}  # fmt: skip
MODERN = {"block": "gated", "feed_forward": "swiglu", "widening": 2, "positions": "rotary"}
N_ITEMS = 30


@pytest.mark.parametrize(
    "settings",
    [{**PUBLISHED, "last_probability": 0.2, "learning_rate": 0.005}, MODERN],
    ids=["published", "modern"],
)
def test_it_learns_what_comes_next(settings: dict[str, Any], walks: Dataset) -> None:
    settings = {**SMALL, "batch_size": 128, "mask_probability": 0.4, **settings}
    model = BERT4Rec(**settings, epochs=90, dropout=0.0).fit(walks, run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.8 * losses[0]
    starts = np.arange(20)
    found = model.recommend(histories=[[i, i + 1, i + 2] for i in starts.tolist()], k=1)
    # One in thirty by chance.
    assert (found["item"].to_numpy() == starts + 3).mean() > 0.6


@pytest.fixture(scope="module", params=[PUBLISHED, MODERN], ids=["published", "modern"])
def fitted(request: pytest.FixtureRequest, walks: Dataset) -> BERT4Rec:
    return BERT4Rec(**SMALL, **request.param, epochs=3).fit(walks, run=QUIET)


@pytest.fixture(scope="module")
def published(walks: Dataset) -> BERT4Rec:
    return BERT4Rec(**SMALL, **PUBLISHED, epochs=3).fit(walks, run=QUIET)


def by_equations(network: BERT4RecNetwork, items: list[int | None]) -> torch.Tensor:
    """h of each position after the last block, of one sequence in which None is hidden, written as
    in the paper; with a norm of what is embedded, as in the authors' program."""
    assert network.positions is not None
    rows = [network.mask if i is None else network.items.weight[i] for i in items]
    # Places are counted from the end.
    x = torch.stack(rows) + network.positions.weight[: len(items)].flip(0)
    x = network.norm(x)
    for block in network.blocks:
        attention = block.attention
        q, k, v = attention.queries_keys_values(x).chunk(3, -1)
        heads = zip(*(part.chunk(attention.heads, -1) for part in (q, k, v)), strict=True)
        gathered = [(q @ k.T / q.shape[1] ** 0.5).softmax(-1) @ v for q, k, v in heads]
        x = block.first_norm(x + attention.output(torch.cat(gathered, -1)))
        inner = functional.gelu(block.feed_forward.inner(x))
        x = block.second_norm(x + block.feed_forward.outer(inner))
    return x


def head(network: BERT4RecNetwork, x: torch.Tensor) -> torch.Tensor:
    projected: torch.Tensor = network.head_norm(functional.gelu(network.head(x)))
    return projected


@torch.no_grad()
def test_an_answer_is_that_of_the_published_equations(published: BERT4Rec) -> None:
    network, history = published.network, [3, 9, 4, 5, 22]
    network.biases.copy_(torch.linspace(-1, 1, len(network.biases)))
    x = head(network, by_equations(network, [*history, None])[-1])
    expected = x @ network.items.weight.T + network.biases
    queries = Queries.of(Histories.from_lists([history]))
    found = published.score(queries)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    product = published.encode_queries(queries) @ published.item_vectors().T
    np.testing.assert_allclose(product, found, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_loss_is_that_of_the_hidden_items_alone(published: BERT4Rec) -> None:
    h = Histories.from_lists([[3, 4, 5, 6, 8, 2, 1], [9, 9, 2, 7], [11]])
    rng = np.random.default_rng(0)
    (batch,) = MaskedBatches(h, 12, 0.4, 0.0).epoch(100, rng)
    assert batch.hidden is not None and batch.targets is not None
    network, expected = published.network, []
    hidden, targets = batch.hidden.tolist(), batch.targets.tolist()
    start = 0
    for row, length in zip(batch.rows.tolist(), batch.packing.lengths.tolist(), strict=True):
        here = [place - start for place in hidden if start <= place < start + length]
        items: list[int | None] = h.items_of(row).tolist()
        for place in here:
            items[place] = None
        for place, x in zip(here, by_equations(network, items)[here], strict=True):
            scores = head(network, x) @ network.items.weight[1:].T + network.biases[1:]
            true = h.items_of(row)[place] - 1
            expected.append(-scores.log_softmax(0)[true])
        start += length
    assert len(expected) == len(targets) == 5
    objective = published.make_objective(h, "cpu")
    loss = objective(network(batch), batch, generator_of(rng, "cpu"))
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 11), st.integers(0, 1000))
@torch.no_grad()
def test_nothing_depends_on_what_is_hidden(fitted: BERT4Rec, event: int, seed: int) -> None:
    history = [3, 4, 5, 9, 8, 20, 21, 22, 1, 2, 3, 4]
    other = [*history[:event], 30, *history[event + 1 :]]
    one, two = (
        next(
            MaskedBatches(Histories.from_lists([items]), 12, 0.4, 0.3).epoch(
                100, np.random.default_rng(seed)
            )
        )
        for items in (history, other)
    )
    assert one.hidden is not None
    same = torch.equal(fitted.network(one), fitted.network(two))
    assert same == (event in one.hidden.tolist())


def test_items_are_the_first_layer_and_the_last_and_the_mask_is_none(fitted: BERT4Rec) -> None:
    assert fitted.item_vectors().shape == (len(fitted.items), 16 + 1)
    tables = [p for p in fitted.network.parameters() if p.shape == (len(fitted.items), 16)]
    assert len(tables) == 1
    assert not tables[0][0].any()


def test_an_empty_history_has_no_vector(fitted: BERT4Rec) -> None:
    queries = Queries.of(Histories.from_lists([[], [0], [5]]))
    vectors = fitted.encode_queries(queries)[:, :-1]
    assert not vectors[:2].any() and vectors[2].any()
    assert fitted.knows(queries).tolist() == [False, False, True]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_any_number_of_heads_and_dimensions_goes_together(walks: Dataset, positions: str) -> None:
    settings = {**SMALL, "dim": 7, "heads": 3, "positions": positions}
    model = BERT4Rec(**settings, epochs=1).fit(walks, run=QUIET)
    assert model.item_vectors().shape == (len(walks.items), 8)
