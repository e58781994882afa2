"""What is known of the past foretells alone, and ids learn what is left."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

import tastemap as tm
from tastemap.ranking.parts.inputs import Inputs, TensorBatch
from tastemap.ranking.staged_fm import StagedFMNetwork


def rows(n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user": rng.integers(0, 30, n).astype(str),
            "device": rng.choice(["phone", "desk"], n),
            "liked_before": [rng.choice(list("abc"), 2).tolist() for _ in range(n)],
            "rate": rng.random(n),
            "click": rng.integers(0, 2, n),
        }
    )


@pytest.fixture(scope="module")
def ranker() -> tm.StagedFM:
    return tm.StagedFM(ids_from=20, dim=4, epochs=2, batch_size=64).fit_frame(rows())


def scores(ranker: tm.StagedFM, frame: pl.DataFrame) -> tuple[TensorBatch, torch.Tensor]:
    """A batch of all rows, and f, g and h of them."""
    assert ranker.encoder is not None
    inputs = Inputs(ranker.encoder.encode(frame), "cpu")
    batch = inputs.batch(torch.arange(len(inputs)))
    return batch, ranker.network.logits(batch, ranker.network.vectors(batch))


def moved(ranker: tm.StagedFM, **changes: pl.Expr) -> np.ndarray:
    """Whether f, g and h are others where a column is another."""
    (_, before), (_, after) = scores(ranker, rows()), scores(ranker, rows().with_columns(**changes))
    return ((before - after).abs() > 1e-6).any(0).numpy()


def test_each_stage_sees_what_it_is_for(ranker: tm.StagedFM) -> None:
    np.testing.assert_array_equal(moved(ranker, user=pl.col("user").reverse()), [0, 1, 1])
    np.testing.assert_array_equal(moved(ranker, rate=1 - pl.col("rate")), [1, 1, 0])
    liked = pl.col("liked_before").reverse()
    np.testing.assert_array_equal(moved(ranker, liked_before=liked), [1, 1, 1])
    _, found = scores(ranker, rows())
    assert ranker.encoder is not None
    answers = ranker.score_batch(ranker.encoder.encode(rows()))
    np.testing.assert_allclose(answers, found[:, 1:].mean(1).detach(), atol=1e-6)


def test_the_second_stage_does_not_teach_the_first(ranker: tm.StagedFM) -> None:
    _, found = scores(ranker, rows())
    network = ranker.network
    assert isinstance(network, StagedFMNetwork)
    first = list(network.known_order.parameters())
    for number, taught in ((0, True), (1, False)):
        gradients = torch.autograd.grad(
            found[:, number].sum(), first, retain_graph=True, materialize_grads=True
        )
        assert any(gradient.any() for gradient in gradients) == taught


def test_members_answer_by_the_mean_of_their_answers() -> None:
    made = tm.StagedFM(members=2, ids_from=20, dim=4, epochs=1, batch_size=64).fit_frame(rows())
    _, found = scores(made, rows())
    assert found.shape == (300, 3, 2) and made.encoder is not None
    answers = made.score_batch(made.encoder.encode(rows()))
    np.testing.assert_allclose(answers, found[:, 1:].mean((1, 2)).detach(), atol=1e-6)


def test_rows_without_ids_or_with_nothing_else_are_learned_too() -> None:
    for columns in (["rate", "click"], ["user", "click"]):
        made = tm.StagedFM(ids_from=2, dim=4, epochs=1).fit_frame(rows().select(columns))
        assert np.isfinite(made.predict_frame(rows())).all()
