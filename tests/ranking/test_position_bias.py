"""What the place at which a row was shown has to do with its click, learned apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import tastemap as tm
from tastemap.errors import DataError, ParameterError
from tastemap.ranking.base import Ranker
from tastemap.ranking.parts.position_bias import PositionBias
from tastemap.ranking.table import ranker_class

ITEMS, SHOWN = 40, 10
RUN = tm.Run(device="cpu", progress=False)
SETTINGS: dict[str, dict[str, Any]] = {
    "fm": {"dim": 2, "learning_rate": 0.05, "regularization": 1e-4, "epochs": 8, "batch_size": 256},
    "lightgbm": {"trees": 150},
    "catboost": {"trees": 60, "learning_rate": 0.2},
}


def log(requests: int = 1000) -> tuple[pl.DataFrame, np.ndarray[Any, Any]]:
    """Lists in an order that has nothing to do with how good the items are, and is nearly the same
    for all; who looks at place p clicks with log-odds of the item's worth + 2 - 2 ln p."""
    rng = np.random.default_rng(0)
    worth, favour = rng.normal(size=(2, ITEMS))
    order = favour + 0.3 * rng.normal(size=(requests, ITEMS))
    # Each list leaves out most items, so that every item has been shown somewhere.
    order[rng.random(order.shape).argsort(1) >= SHOWN + 2] = -np.inf
    items = (-order).argsort(1)[:, :SHOWN]
    places = np.arange(1, SHOWN + 1)
    odds = worth[items] + 2 - 2 * np.log(places)
    frame = pl.DataFrame(
        {
            "item": items.ravel(),
            "request": np.repeat(np.arange(requests), SHOWN),
            "position": np.tile(places, requests),
            "click": (rng.random(odds.shape) < 1 / (1 + np.exp(-odds))).ravel(),
        }
    )
    return frame, worth


LOG, WORTH = log()
ASKED = pl.DataFrame({"item": np.arange(ITEMS)})


def right_pairs(ranker: Ranker) -> float:
    """Share of all pairs of items that a ranker puts in the order of their worth."""
    assert ranker.encoder is not None
    scores = ranker.score_batch(ranker.encoder.encode(ASKED))
    first, second = np.triu_indices(ITEMS, 1)
    right = (scores[first] - scores[second]) * (WORTH[first] - WORTH[second]) > 0
    return float(right.mean())


def fitted(name: str, rows: pl.DataFrame = LOG, **more: Any) -> Ranker:
    given = {"group": "request", "kinds": {"item": "categorical"}, "run": RUN, **more}
    objective = given.pop("objective", "pointwise")
    return ranker_class(name)(**SETTINGS[name], objective=objective).fit_frame(rows, **given)


@pytest.mark.parametrize(
    ("name", "objective"),
    [("fm", "pointwise"), ("fm", "listwise"), ("lightgbm", "pointwise"), ("catboost", "pointwise")],
)
def test_items_are_ordered_by_their_worth_and_not_by_their_place(
    name: str, objective: str, tmp_path: Path
) -> None:
    plain = fitted(name, LOG.drop("position"), objective=objective)
    ranker = fitted(name, position="position", objective=objective)
    assert right_pairs(ranker) > right_pairs(plain) + 0.08
    assert ranker.schema.names == ("item",)
    # Places of what is asked about change nothing.
    if objective == "pointwise":
        answers = ranker.predict_frame(ASKED)
        for place in (1, 9):
            placed = ranker.predict_frame(ASKED.with_columns(position=place))
            np.testing.assert_array_equal(placed, answers)
    ranker.save(tmp_path / "ranker")
    assert right_pairs(tm.load(tmp_path / "ranker")) == right_pairs(ranker)


def test_early_stopping_looks_at_places_too() -> None:
    some = LOG["request"] < 800
    held = LOG.filter(~some)
    least = []
    for rows in (held, held.with_columns(position=pl.lit(None, pl.Int64))):
        ranker = fitted("fm", LOG.filter(some), validation=rows, position="position")
        losses = [epoch["log-loss"] for epoch in ranker.training.history]  # type: ignore[attr-defined]
        least.append(min(losses))
    assert least[0] < 0.9 * least[1]


def test_an_unknown_place_adds_nothing() -> None:
    bias = PositionBias()
    with torch.no_grad():
        bias.places[:] = torch.arange(1.0, len(bias.places) + 1)
    assert bias(torch.tensor([0, 1, 3, 10_000])).tolist() == [0, 1, 3, len(bias.places)]
    unknown = LOG[:2000].with_columns(position=pl.lit(None, pl.Float64))
    for name in ("fm", "lightgbm"):
        assert fitted(name, unknown, position="position").predict_frame(ASKED).std() > 0


@pytest.mark.parametrize(("value", "said"), [(0, "value 0.0"), (1.5, "1.5"), (-1, "value -1.0")])
def test_a_place_is_a_whole_number_from_1(value: float, said: str) -> None:
    places = pl.Series("position", [1.0, value, *[None] * (LOG.height - 2)], strict=False)
    with pytest.raises(DataError, match=rf"row 2, column 'position'.*{said}.*whole number from 1"):
        fitted("fm", LOG.with_columns(places), position="position")


def test_what_is_missing_is_said() -> None:
    with pytest.raises(DataError, match=r"no column 'place'.*position="):
        fitted("fm", position="place")
    ranker = fitted("fm")
    assert ranker.encoder is not None
    rows, labels = ranker.encoder.encode(LOG), LOG["click"].to_numpy()
    with pytest.raises(ParameterError, match="or of neither"):
        ranker.fit_batch(rows, labels, positions=np.ones(len(rows)), validation=(rows, labels))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="position must be at least 0"):
        ranker.fit_batch(rows, labels, positions=np.full(len(rows), -1))
