"""Losses of the rows of a request together, and rankers that learn an order by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import tastemap as tm
from tastemap.errors import DataError, ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.features.schema import Categorical, Schema
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.parts.objectives import make_objective
from tastemap.ranking.requests import Requests
from tastemap.ranking.table import ranker_class

LABELS = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0], np.float32)
GROUPS = np.array(["b", "a", "a", "a", "c", "d", "d", "b", "a"])
CLICKS = {"a": [1, 3], "b": [7]}
OTHERS = {"a": [2, 8], "b": [0]}


def labelled() -> Labelled:
    schema = Schema((Categorical("x", 2),))
    empty = np.empty((9, 0), np.float32)
    return Labelled(FeatureBatch(schema, np.ones((9, 1), np.int64), empty), LABELS, GROUPS)


def test_requests_have_their_clicks_first_and_both_labels() -> None:
    requests = Requests.of(LABELS, GROUPS)
    assert requests.rows.tolist() == [1, 3, 2, 8, 7, 0]
    assert requests.offsets.tolist() == [0, 4, 6]
    assert requests.clicks.tolist() == [2, 1]
    with pytest.raises(DataError, match="no order to learn"):
        Requests.of(LABELS, np.arange(9))


@pytest.mark.parametrize("name", ["pairwise", "listwise"])
def test_losses_are_those_of_the_formulas(name: str) -> None:
    objective = make_objective(name, labelled(), "cpu")
    scores = torch.randn(9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for examples in ([0, 1], [1, 0], [1]):
        chosen = torch.tensor(examples)
        rows = objective.rows(chosen)
        found = objective.loss(scores[rows], chosen)
        terms = []
        for group in ("ab"[place] for place in examples):
            others = scores[OTHERS[group]]
            for click in CLICKS[group]:
                if name == "pairwise":
                    terms.append(-(scores[click] - others).sigmoid().log())
                else:
                    all_ = torch.cat([scores[click][None], others])
                    terms.append(-all_.log_softmax(0)[:1])
        torch.testing.assert_close(found, torch.cat(terms).mean())
    (gradient,) = torch.autograd.grad(found, scores)
    assert not gradient[[1, 2, 3, 4, 5, 6, 8]].any()


def test_batches_keep_requests_whole() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 50, 400)
    labels = (rng.random(400) < 0.3).astype(np.float32)
    schema = Schema((Categorical("x", 2),))
    batch = FeatureBatch(schema, np.ones((400, 1), np.int64), np.empty((400, 0), np.float32))
    objective = make_objective("listwise", Labelled(batch, labels, groups), "cpu")
    order = torch.randperm(len(objective), generator=torch.Generator().manual_seed(0))
    parts = objective.batches(order, 40)
    assert torch.equal(torch.cat(list(parts)), order)
    rows = [objective.rows(part).numpy() for part in parts]
    assert all(20 < len(each) < 60 for each in rows[:-1])
    owners = [set(groups[each].tolist()) for each in rows]
    assert sum(len(each) for each in owners) == len(set().union(*owners)) == len(objective)


def frame(n_requests: int, seed: int) -> pl.DataFrame:
    """Each request has four rows, and the click is the one whose letter comes first. How probable a
    click is without its request does not follow from the letter alone."""
    rng = np.random.default_rng(seed)
    letters = np.stack([rng.choice(12, 4, replace=False) for _ in range(n_requests)])
    clicked = letters == letters.min(1, keepdims=True)
    order = rng.permutation(letters.size)
    return pl.DataFrame(
        {
            "request": np.repeat(np.arange(n_requests), 4)[order],
            "letter": [f"{letter}" for letter in letters.ravel()[order]],
            "number": rng.normal(size=letters.size),
            "click": clicked.ravel()[order].astype(np.int8),
        }
    )


TRAIN, HELD, TEST = frame(600, 0), frame(60, 1), frame(100, 2)
SETTINGS: dict[str, dict[str, Any]] = {
    "fm": {"epochs": 4, "batch_size": 64, "learning_rate": 0.03, "regularization": 1e-4},
    "lightgbm": {"trees": 60, "min_rows": 5, "learning_rate": 0.2, "l2": 0.1},
    "catboost": {"trees": 60, "learning_rate": 0.2},
}


def make(name: str, **more: Any) -> Ranker:
    return ranker_class(name)(**SETTINGS[name], **more)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("objective", ["pairwise", "listwise"])
def test_the_order_within_requests_is_learned(name: str, objective: str) -> None:
    ranker = make(name, objective=objective)
    ranker.fit_frame(TRAIN, group="request", validation=HELD)
    assert ranker.schema.names == ("letter", "number")
    assert ranker.encoder is not None
    scores = ranker.score_batch(ranker.encoder.encode(TEST))
    gauc = tm.metrics.click_gauc(scores, TEST["click"].to_numpy(), TEST["request"].to_numpy())
    assert gauc > 0.97
    with pytest.raises(ParameterError, match="no log-odds"):
        ranker.predict_frame(TEST)


def test_a_group_is_a_feature_only_where_that_is_said() -> None:
    ranker = make("lightgbm", objective="listwise")
    ranker.fit_frame(TRAIN, group="request", kinds={"request": "categorical"})
    assert "request" in ranker.schema.names
    pointwise = make("lightgbm").fit_frame(TRAIN, group="request").predict_frame(TEST)
    without = make("lightgbm").fit_frame(TRAIN.drop("request")).predict_frame(TEST)
    np.testing.assert_array_equal(pointwise, without)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_wrong_with_groups_is_said(name: str) -> None:
    ranker = make(name, objective="pairwise")
    with pytest.raises(ParameterError, match=r"say which rows belong together.*group="):
        ranker.fit_frame(TRAIN)
    with pytest.raises(DataError, match=r"no column 'query'.*group="):
        ranker.fit_frame(TRAIN, group="query")
    gaps = TRAIN.with_columns(request=pl.Series([1, None, *[1] * (TRAIN.height - 2)]))
    with pytest.raises(DataError, match=r"row 2, column 'request'.*missing"):
        ranker.fit_frame(gaps, group="request")
    with pytest.raises(DataError, match="no order to learn"):
        ranker.fit_frame(TRAIN.with_columns(click=pl.lit(1)), group="request")
    with pytest.raises(ParameterError, match="objective must be one of"):
        make(name, objective="setwise")
