"""Several labels at once: a click, a like, and the share that was watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from torch.nn import functional

import tastemap as tm
from tastemap.errors import DataError, ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.features.schema import Categorical, Schema
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.parts.neural import NeuralRanker
from tastemap.ranking.parts.objectives import make_objective
from tastemap.ranking.table import ranker_class, ranker_names
from tastemap.ranking.tasks import Tasks

RUN = tm.Run(device="cpu", progress=False)
LABELS = ["click", "like", "watch_share"]
CHANCES = {"click": [0.9, 0.8, 0.5, 0.1], "like": [0.1, 0.4, 0.1, 0.4]}
NEURAL = {"learning_rate": 0.05, "regularization": 1e-4, "epochs": 6, "batch_size": 64, "dim": 4}
DEEP = {**NEURAL, "hidden": 16, "layer_rate": 1.0, "dropout": 0.0, "input_dropout": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "fm": NEURAL,
    "stagedfm": NEURAL,
    "ffm": {**NEURAL, "dim": 2},
    "finalmlp": {**DEEP, "heads": 2, "learning_rate": 0.02},
    "neumfranker": {**DEEP, "user": "kind", "item": "shelf"},
    "blendranker": {
        "models": "fm(learning_rate=0.05, regularization=1e-4, epochs=6, batch_size=64, dim=4) + "
        "lightgbm(trees=30, learning_rate=0.2, without=shelf)"
    },
    "catboost": {"trees": 30, "learning_rate": 0.2},
    "lightgbm": {"trees": 30, "learning_rate": 0.2},
}


def rows(n: int = 1000) -> pl.DataFrame:
    """A kind of thing says how likely it is clicked, how likely liked, and how long watched: what
    is clicked most is liked least."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, n)
    click, like = (rng.random(n) < np.array(chances)[kind] for chances in CHANCES.values())
    return pl.DataFrame(
        {
            "kind": [f"kind {each}" for each in kind],
            "shelf": rng.choice(["x", "y"], n),
            "seen": [["x"]] * n,
            "click": click,
            "like": like,
            "watch_share": np.clip(0.2 * kind + rng.uniform(0, 0.2, n), 0, 1),
        }
    )


TRAIN = rows()
ASKED = pl.DataFrame(
    {"kind": [f"kind {each}" for each in range(4)], "shelf": ["x"] * 4, "seen": [["x"]] * 4}
)


def fitted(name: str, label: Any = None, **more: Any) -> Ranker:
    ranker = ranker_class(name)(**SETTINGS.get(name, DEEP))
    kinds = {"seen": "sequence of shelf"}
    return ranker.fit_frame(TRAIN, label or LABELS, kinds=kinds, run=RUN, **more)


@pytest.mark.parametrize("name", ranker_names())
def test_each_task_is_foretold(name: str, tmp_path: Path) -> None:
    ranker = fitted(name, weights={"like": 3})
    found = ranker.predict_tasks(ASKED)
    assert found.columns == LABELS
    assert found.dtypes == [pl.Float64] * 3
    expected = {**CHANCES, "watch_share": [0.1, 0.3, 0.5, 0.7]}
    for task in LABELS:
        np.testing.assert_allclose(found[task], expected[task], atol=0.15)
    # The answer is the weighted mean of all.
    answers = ranker.predict_frame(ASKED)
    np.testing.assert_allclose(answers, found.to_numpy() @ [0.2, 0.6, 0.2], atol=1e-6)
    assert ranker.predict_tasks(ASKED[:0]).shape == (0, 3)
    ranker.save(tmp_path / "ranker")
    loaded = tm.load(tmp_path / "ranker")
    assert loaded.tasks == ranker.tasks
    assert loaded.predict_tasks(ASKED).equals(found)
    np.testing.assert_array_equal(loaded.predict_frame(ASKED), answers)


def test_tasks_share_the_vectors_of_features() -> None:
    ranker = fitted("deepfm")
    assert isinstance(ranker, NeuralRanker)
    stored = [name for name in ranker.tensors() if "table.weight" in name]
    # Of each member one table of vectors, and of each task the weights of its own.
    assert len(stored) == ranker.hyperparameter_values()["members"] * (1 + 3)


def test_the_loss_is_the_weighted_mean_of_those_of_the_tasks() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((5, 2)).astype(np.float32)
    batch = FeatureBatch(
        Schema((Categorical("x", 2),)), np.ones((5, 1), np.int64), np.empty((5, 0), np.float32)
    )
    tasks = Tasks.of(["a", "b"], {"a": 3})
    objective = make_objective("pointwise", Labelled(batch, labels), "cpu", tasks)
    scores = torch.tensor(rng.normal(size=(3, 2)), dtype=torch.float32)
    chosen = torch.tensor([4, 0, 2])
    each = [
        functional.binary_cross_entropy(
            scores[:, task].sigmoid(), torch.tensor(labels)[chosen, task]
        )
        for task in range(2)
    ]
    torch.testing.assert_close(objective.loss(scores, chosen), 0.75 * each[0] + 0.25 * each[1])


def test_scores_are_log_odds_of_the_weighted_mean() -> None:
    tasks = Tasks.of(["a", "b"], {"b": 3})
    scores = np.array([[0.0, 2.0], [-40.0, -40.0]], np.float32)
    found = tasks.combined(scores)
    assert expit(found[0]) == pytest.approx(0.125 + 0.75 * expit(2))
    assert np.isfinite(found).all()


def test_places_add_to_each_task_of_its_own() -> None:
    rng = np.random.default_rng(1)
    place = rng.integers(1, 3, TRAIN.height)
    # At the second place nobody clicks, and liking goes on.
    shown = TRAIN.with_columns(position=place, click=pl.col("click") & pl.Series(place == 1))
    for name in ("fm", "lightgbm"):
        ranker = ranker_class(name)(**SETTINGS[name])
        ranker.fit_frame(shown, LABELS, position="position", run=RUN)
        found = ranker.predict_tasks(ASKED)
        assert found["like"].to_list() == pytest.approx(CHANCES["like"], abs=0.15)
        assert found["click"].is_sorted(descending=True)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ParameterError, match="no label 'likes'; did you mean 'like'"):
        fitted("fm", weights={"likes": 2})
    with pytest.raises(ParameterError, match="'like' must be above 0"):
        fitted("fm", weights={"like": 0})
    with pytest.raises(ParameterError, match="once and at least one"):
        fitted("fm", ["like", "like"])
    with pytest.raises(ParameterError, match="weights are of several labels"):
        fitted("fm", "like", weights={"like": 2})
    with pytest.raises(DataError, match=r"row 2, value 5.0: the label of a task must be from 0 to"):
        fitted_wrong = TRAIN.with_columns(watch_share=pl.Series([0.0, 5.0] + [0.5] * 998))
        tm.FM().fit_frame(fitted_wrong, LABELS)
    with pytest.raises(ParameterError, match="take objective='pointwise' and calibration='none'"):
        tm.FM(objective="pairwise").fit_frame(TRAIN, ["click"], group="shelf")
    with pytest.raises(ParameterError, match="fitted on one label"):
        fitted("fm", "click").predict_tasks(ASKED)
    ranker = fitted("fm")
    assert ranker.encoder is not None
    with pytest.raises(ParameterError, match="give a column for each of tasks="):
        ranker.fit_batch(ranker.encoder.encode(TRAIN), np.ones((TRAIN.height, 2)))
