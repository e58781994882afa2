"""YouTubeDNN: its own class vectors, the age of an example, and users that count alike."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.objectives import FullSoftmax
from tastemap.retrieval.youtube_dnn import EqualUsers, YouTubeDNN
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)


def fashions() -> Dataset:
    """What is watched follows the calendar: items 0 to 9 in the first 1000 seconds, 10 to 19 in
    the next, whoever watches; histories do not tell the time."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        times = np.sort(rng.integers(0, 2000, 12))
        rows += [(user, int(rng.integers(10)) + 10 * (t >= 1000), float(t)) for t in times]
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    return Dataset.from_frame(frame)


@pytest.fixture(scope="module")
def model() -> YouTubeDNN:
    settings = {"dim": 16, "epochs": 20, "batch_size": 64, "learning_rate": 0.01}
    return YouTubeDNN(**settings).fit(fashions(), run=QUIET)


def test_the_age_of_an_example_tells_what_was_watched_then(model: YouTubeDNN) -> None:
    history = Histories.from_lists([model.items.rows([4, 14, 5, 15]).tolist()])
    shares = []
    for moment in (300.0, 1700.0, np.inf):
        asked = Queries.of(history, as_of=np.array([moment]))
        best = model.items.ids(model.answer(asked, 8, exclude_seen=False).items)
        shares.append(np.mean([item >= 10 for item in best]))
    assert shares[0] < 0.3
    assert shares[1] > 0.7
    assert shares[2] > 0.7


def test_ages_are_powers_from_the_newest_event_on(model: YouTubeDNN) -> None:
    times = model.data.histories.times
    moments = torch.tensor([np.inf, times.max() + 50, times.max(), times.min(), 0.0])
    moments[4] = (times.max() + times.min()) / 2
    found = model.network.ages(moments.double())
    expected = torch.tensor([[0.0] * 3] * 3 + [[1.0] * 3] + [[0.5, 0.5**0.5, 0.25]])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_classes_have_vectors_of_their_own_and_layers_halve(model: YouTubeDNN) -> None:
    shapes = {name: tuple(p.shape) for name, p in model.network.named_parameters()}
    assert shapes["items.weight"] == shapes["watched.weight"] == (21, 16)
    assert shapes["tower.0.weight"] == (32, 2 * 16 + 3)
    assert shapes["tower.3.weight"] == (16, 32)
    np.testing.assert_array_equal(model.item_vectors(), model.network.items.weight.detach())
    assert (model.encode_queries(model.data.queries()) >= 0).all()


def test_a_summary_is_the_mean_of_what_was_watched(model: YouTubeDNN) -> None:
    batch = SequenceBatches(Histories.from_lists([[3, 9, 9, 2]]), 9).recent()
    with torch.inference_mode():
        found = model.network.summaries(batch)
        rows = model.network.watched.weight[[3, 9, 9, 2]]
    expected = torch.stack([rows[: t + 1].mean(0) for t in range(4)])
    torch.testing.assert_close(found, expected)


def test_users_with_many_examples_are_held_back() -> None:
    """The loss is the plain mean, over all examples, of n / their number where a user has more."""
    histories = Histories.from_lists([[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 4, 5], [6, 2]])
    (batch,) = SequenceBatches(histories, 20).epoch(100, np.random.default_rng(0))
    items = YouTubeDNN(dim=4, epochs=1).fit(fashions(), run=QUIET).network.items
    found = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
    objective = EqualUsers(FullSoftmax(items), histories, 2, "cpu")
    assert batch.targets is not None
    logits = found @ items.weight[1:].T
    losses = torch.nn.functional.cross_entropy(logits, batch.targets - 1, reduction="none")
    # 8, 2 and 1 examples, of which 2, 2 and 1 count.
    rows = batch.rows[batch.packing.sequences]
    weights = torch.tensor([2 / 8, 1.0, 1.0])[rows]
    expected = (losses * weights).sum() / weights.sum()
    with torch.no_grad():
        torch.testing.assert_close(objective(found, batch, torch.Generator()), expected.detach())


def test_as_published_it_learns_with_drawn_classes_too() -> None:
    settings = {"dim": 16, "epochs": 15, "batch_size": 64, "learning_rate": 0.01}
    published = {"objective": "sampled_softmax", "negatives": 15, "examples_per_user": 5}
    model = YouTubeDNN(**settings, **published).fit(fashions(), run=QUIET)
    losses = [epoch["loss"] for epoch in model.training.history]
    assert losses[-1] < 0.9 * losses[0]
