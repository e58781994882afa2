"""GRU4Rec: its losses are those of the papers, it learns, batches and the future change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.gru4rec import GRU4Rec, SharedSample
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

QUIET = Run(device="cpu", progress=False)
SMALL: dict[str, Any] = {"dim": 16, "max_length": 12, "batch_size": 64, "learning_rate": 0.01}
DRAWN: dict[str, Any] = {"negatives": 10, "batch_negatives": 5}
N_ITEMS = 30


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "softmax"},
        {"objective": "softmax", "cell": "lstm", "layers": 2},
        {"objective": "sampled_softmax", **DRAWN},
        {"objective": "bpr_max", **DRAWN},
        {"objective": "top1_max", **DRAWN},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_every_objective_learns_what_comes_next(settings: dict[str, Any], walks: Dataset) -> None:
    model = GRU4Rec(**SMALL, **settings, epochs=25, dropout=0.0, embedding_dropout=0.0)
    model.fit(walks, run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.8 * losses[0]
    starts = np.arange(20)
    found = model.recommend(histories=[[i, i + 1, i + 2] for i in starts.tolist()], k=1)
    assert (found["item"].to_numpy() == starts + 3).mean() > 0.8


@pytest.fixture(scope="module")
def fitted(walks: Dataset) -> GRU4Rec:
    return GRU4Rec(**SMALL, layers=2, epochs=3).fit(walks, run=QUIET)


def one_batch(*histories: list[int], max_length: int = 12) -> SequenceBatch:
    return SequenceBatches(Histories.from_lists(list(histories)), max_length).recent()


def test_what_comes_later_changes_no_earlier_position(fitted: GRU4Rec) -> None:
    history = [3, 4, 5, 9, 8]
    before = fitted.network(one_batch(history))
    after = fitted.network(one_batch([*history, 20]))
    torch.testing.assert_close(after[:-1], before)


def test_every_history_begins_with_an_empty_state(fitted: GRU4Rec) -> None:
    # Two begin alike and stand in the batch after others; neither knows of these.
    both = one_batch([7, 8, 9, 10, 11], [3, 4, 5], [3, 4, 6])
    starts = (both.packing.last - both.packing.lengths + 1)[1:]
    found = fitted.network(both)
    torch.testing.assert_close(found[starts[0] + 1], found[starts[1] + 1])
    torch.testing.assert_close(
        found[starts[0] : starts[0] + 3], fitted.network(one_batch([3, 4, 5]))
    )


def test_a_score_is_the_state_times_the_item_read_and_its_bias(fitted: GRU4Rec) -> None:
    """One table, by the equations of a GRU written out for one history."""
    vectors = fitted.item_vectors()
    q, c = vectors[:, :-1].astype(np.float64), vectors[:, -1]
    assert not vectors[0].any()
    tables = [p for p in fitted.network.parameters() if len(p) == len(fitted.items)]
    assert len(tables) == 1
    x = q[[3, 4, 9]]
    for recurrent in fitted.network.layers:
        named = dict(recurrent.layer.named_parameters())
        v, u, a, b = (
            named[f"{name}_l0"].detach().double().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, states = np.zeros(16), []
        for row in x:
            (r, z, n), (of_r, of_z, of_n) = np.split(v @ row + a, 3), np.split(u @ h + b, 3)
            r, z = 1 / (1 + np.exp(-r - of_r)), 1 / (1 + np.exp(-z - of_z))
            h = (1 - z) * np.tanh(n + r * of_n) + z * h
            states.append(h)
        x = np.array(states)
    found = fitted.score(Queries.of(Histories.from_lists([[3, 4, 9]])))[0]
    np.testing.assert_allclose(found, q @ x[-1] + c, rtol=1e-4, atol=1e-5)


def test_similar_items_are_compared_without_their_bias(fitted: GRU4Rec) -> None:
    q = fitted.item_vectors()[:, :-1]
    lengths = np.linalg.norm(q, axis=1)
    expected = q[[5]] @ q.T / np.maximum(lengths[[5], None] * lengths, 1e-12)
    np.testing.assert_allclose(
        fitted.similarity(np.array([5], np.int32))[:, 1:], expected[:, 1:], atol=1e-5
    )


def losses_of(model: GRU4Rec, seed: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    """The objective of a batch, and what it was made of: scores, sample, targets."""
    histories = model.histories
    objective = model.make_objective(histories, "cpu")
    assert isinstance(objective, SharedSample)
    seen: dict[str, torch.Tensor] = {}
    inner = objective.loss

    def spy(
        positive: torch.Tensor, negative: torch.Tensor, mask: torch.Tensor, log_q: torch.Tensor
    ) -> torch.Tensor:
        seen.update(positive=positive, negative=negative, mask=mask, log_q=log_q)
        return inner(positive, negative, mask, log_q)

    objective.loss = spy
    batch = next(SequenceBatches(histories, 12).epoch(50, np.random.default_rng(0)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        loss = objective(3 * model.network(batch), batch, generator).item()
    return loss, seen


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_bpr_max_is_that_of_the_paper(walks: Dataset, elu: float) -> None:
    settings = {**SMALL, **DRAWN, "objective": "bpr_max", "elu": elu, "score_penalty": 0.7}
    model = GRU4Rec(**settings, epochs=1).fit(walks, run=QUIET)
    loss, seen = losses_of(model)
    terms = []
    for x_i, x_j, counts in zip(seen["positive"], seen["negative"], seen["mask"], strict=True):
        x_i, x_j = x_i.double(), x_j[counts].double()
        if elu:
            x_i, x_j = (torch.where(x > 0, x, elu * x.expm1()) for x in (x_i, x_j))
        s = x_j.exp() / x_j.exp().sum()
        terms.append(-(s * (x_i - x_j).sigmoid()).sum().log() + 0.7 * (s * x_j**2).sum())
    assert loss == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


@pytest.mark.parametrize("correction", [0.0, 1.0])
def test_the_sampled_softmax_is_plain_or_corrected(walks: Dataset, correction: float) -> None:
    settings = {**SMALL, **DRAWN, "objective": "sampled_softmax", "correction": correction}
    model = GRU4Rec(**settings, epochs=1).fit(walks, run=QUIET)
    loss, seen = losses_of(model)
    terms = []
    for x_i, x_j, counts in zip(seen["positive"], seen["negative"], seen["mask"], strict=True):
        x_j = x_j[counts]
        # Of n draws each stands for 1 / (n q) items; uncorrected it stands for itself.
        each = (1 / (len(x_j) * seen["log_q"][counts].exp())) if correction else 15 / len(x_j)
        terms.append((x_i.exp() + (each * x_j.exp()).sum()).log() - x_i)
    assert loss == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


def test_a_sample_is_of_the_batch_and_of_popular_items(walks: Dataset) -> None:
    settings = {**SMALL, "objective": "bpr_max", "popularity_exponent": 0.5}
    model = GRU4Rec(**settings, negatives=3000, batch_negatives=1000, epochs=1)
    model.fit(walks, run=QUIET)
    n = model.popularity.astype(np.float64)
    expected = 0.25 * n / n.sum() + 0.75 * np.sqrt(n) / np.sqrt(n).sum()
    objective = model.make_objective(model.histories, "cpu")
    assert isinstance(objective, SharedSample)
    np.testing.assert_allclose(objective.log_q.exp().numpy(), expected, atol=1e-6)
    batch = next(SequenceBatches(model.histories, 12).epoch(10_000, np.random.default_rng(0)))
    drawn: list[torch.Tensor] = []
    lookup = objective.items.forward
    objective.items.forward = lambda rows: (drawn.append(rows), lookup(rows))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        objective(model.network(batch), batch, torch.Generator().manual_seed(0))
    objective.items.forward = lookup  # type: ignore[method-assign]
    targets = batch.targets
    assert targets is not None
    sample = drawn[-1][len(targets) :]
    assert len(sample) == 4000 and (sample > 0).all()
    share = np.bincount(sample.numpy(), minlength=len(n)) / len(sample)
    # Five standard deviations; the targets of a batch are nearly all events.
    np.testing.assert_allclose(share, expected, atol=5 * np.sqrt(expected.max() / 4000))


def test_what_is_drawn_has_sparse_gradients(walks: Dataset) -> None:
    model = GRU4Rec(**SMALL, **DRAWN, objective="bpr_max", epochs=1).fit(walks, run=QUIET)
    assert model.network.items.weight.grad is not None
    assert model.network.items.weight.grad.is_sparse
