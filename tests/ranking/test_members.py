"""Networks that learn side by side: each as if it were alone, and the mean of what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import tastemap as tm
from tastemap.ranking.parts.inputs import Inputs
from tastemap.ranking.parts.networks import Members
from tastemap.ranking.parts.neural import NeuralRanker
from tastemap.ranking.table import ranker_class

LAYERS = {"hidden": 16, "dropout": 0.0, "input_dropout": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "fm": {},
    "deepfm": LAYERS,
    "widedeep": LAYERS,
    "dcnv2": LAYERS,
}


def rows(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user": rng.integers(0, 30, n).astype(str),
            "item": rng.integers(0, 40, n).astype(str),
            "tags": [rng.choice(list("abc"), rng.integers(0, 3)).tolist() for _ in range(n)],
            "age": rng.normal(size=n),
            "request": rng.integers(1, 100, n),
            "click": rng.integers(0, 2, n),
            "like": rng.integers(0, 2, n),
        }
    )


def fitted(name: str, members: int, **fit: Any) -> NeuralRanker:
    made = ranker_class(name)(
        **SETTINGS[name], members=members, dim=4, epochs=2, batch_size=64, seed=3
    )
    assert isinstance(made, NeuralRanker)
    return made.fit_frame(rows(), **fit)


@torch.inference_mode()
def said(ranker: NeuralRanker) -> np.ndarray:
    """What each member says of the rows, [n, …, members]."""
    network = ranker.network
    assert isinstance(network, Members) and ranker.encoder is not None
    inputs = Inputs(ranker.encoder.encode(rows()), "cpu")
    batch = inputs.batch(torch.arange(len(inputs)))
    return network.logits(batch, network.vectors(batch)).numpy()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_learns_as_if_alone_and_the_mean_answers(name: str, tmp_path: Path) -> None:
    several, alone = (fitted(name, members, group="request") for members in (3, 1))
    assert several.encoder is not None
    features = several.encoder.encode(rows())
    of_members = said(several)
    assert of_members.shape == (400, 3)
    # The first one has the first values and the batches of a network alone.
    np.testing.assert_allclose(of_members[:, 0], alone.score_batch(features), atol=1e-4)
    assert np.abs(of_members[:, 1] - of_members[:, 0]).max() > 1e-3
    scores = several.score_batch(features)
    np.testing.assert_allclose(scores, of_members.mean(1), atol=1e-6)
    several.save(tmp_path / "ranker")
    loaded = tm.load(tmp_path / "ranker")
    np.testing.assert_array_equal(loaded.score_batch(features), scores)


def test_each_learns_several_labels_and_places() -> None:
    labels = ["click", "like"]
    several = fitted("fm", 2, label=labels, position="request")
    assert said(several).shape == (400, 2, 2)
    assert several.predict_tasks(rows()).columns == labels


def test_a_log_tells_the_loss_of_one() -> None:
    several, alone = (fitted("fm", members).training.history[0] for members in (4, 1))
    assert several["loss"] == pytest.approx(alone["loss"], rel=0.05)
