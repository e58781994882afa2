"""AutoRec beyond the contract of all models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.splits import RandomPerUser
from tastemap.retrieval import autorec


@pytest.mark.parametrize("based_on", ["item", "user"])
def test_dense_gradients_are_the_compiled_ones(movies: Dataset, based_on: str) -> None:
    model = tm.AutoRec(based_on=based_on, hidden_units=8)
    model._data = movies
    rows = model._observed(movies.histories)[:200]
    trainer = autorec._Trainer(model, rows, 3.5, "cpu")
    batch = rows[50:90]
    squares = trainer._compiled_gradients(batch)
    compiled = {name: gradient.clone() for name, gradient in trainer.gradients.items()}
    assert trainer._dense_gradients(batch) == pytest.approx(squares, rel=1e-5)
    for name, gradient in trainer.gradients.items():
        largest = float(gradient.abs().max())
        np.testing.assert_allclose(gradient, compiled[name], atol=1e-4 * largest, err_msg=name)
        assert largest > 0


def test_a_fitted_history_rates_as_well_as_what_was_learned(movies: Dataset) -> None:
    split = RandomPerUser(test=0.1, seed=0).split(movies)
    model = tm.AutoRec(hidden_units=50).fit(split.train)
    queries, truth = split.test.queries, split.test.truth
    rows, wanted = truth.rows_of_events(), truth.values

    def error(users: np.ndarray) -> float:
        predicted = model.predict_pairs(replace(queries, users=users), rows, truth.items)
        return tm.metrics.rmse(predicted, wanted)

    learned, fitted = error(queries.users), error(np.zeros_like(queries.users))
    assert learned != fitted
    assert fitted < learned + 0.01


def test_pairs_rated_twice_count_once_with_their_mean() -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b"], "item": ["x", "x", "y"], "rating": [1.0, 5, 4]})
    model = tm.AutoRec(hidden_units=2, epochs=1).fit(Dataset.from_frame(frame))
    assert model._observed(model.histories).toarray().tolist() == [[0, 0, 0], [0, 3, 0], [0, 0, 4]]
