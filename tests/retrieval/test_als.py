"""ALS against plain numpy, and what it promises beyond the contract of all models."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser
from tastemap.kernels.pairs import pairs


def small_data(n_users: int = 60, n_items: int = 40, seed: int = 0) -> Dataset:
    """Random choices with values 1 … 5; the last item of the vocabulary is never chosen."""
    rng = np.random.default_rng(seed)
    rows = [
        (user + 1, item + 1)
        for user in range(n_users)
        for item in rng.choice(n_items - 1, rng.integers(2, 15), replace=False)
    ]
    users, items = np.array(rows, np.int32).T
    return Dataset.from_events(
        tm.Vocabulary(np.arange(n_users)),
        tm.Vocabulary(np.arange(n_items)),
        users,
        items,
        values=rng.integers(1, 6, len(users)).astype(np.float32),
    )


def observed(model: tm.ALS, data: Dataset) -> np.ndarray:
    """Confidences as a dense matrix, without the rows of the unknown."""
    c = data.histories.to_csr(len(data.items), values=bool(model.use_values)).toarray()[1:, 1:]
    return c / c[c > 0].mean()


def ridges(model: tm.ALS, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n_users, n_items = (c > 0).any(axis=1).sum(), (c > 0).any(axis=0).sum()
    of_users = (c > 0).sum(axis=1) + model.unobserved_weight * n_items
    of_items = (c > 0).sum(axis=0) + model.unobserved_weight * n_users
    power = model.frequency_exponent
    return model.regularization * of_users**power, model.regularization * of_items**power


def solved(c: np.ndarray, y: np.ndarray, weight: float, ridge: np.ndarray) -> np.ndarray:
    unit = np.eye(y.shape[1])
    return np.array(
        [
            np.linalg.solve(weight * y.T @ y + (y.T * c_u) @ y + ridge_u * unit, y.T @ c_u)
            for c_u, ridge_u in zip(c, ridge, strict=True)
        ]
    )


@pytest.mark.parametrize("use_values", [False, True])
@pytest.mark.parametrize("frequency_exponent", [0.0, 0.5, 1.0])
def test_equals_numpy(use_values: bool, frequency_exponent: float) -> None:
    data = small_data()
    model = tm.ALS(
        factors=6, iterations=3, frequency_exponent=frequency_exponent, use_values=use_values
    ).fit(data)
    c = observed(model, data)
    user_ridge, item_ridge = ridges(model, c)
    weight = model.unobserved_weight
    y = model._start(data.item_counts)[1:].astype(np.float64)
    for _ in range(3):
        x = solved(c, y, weight, user_ridge)
        y = solved(c.T, x, weight, item_ridge)
    np.testing.assert_allclose(model.item_factors[1:], y, atol=1e-5)
    folded_in = solved(c, y, weight, user_ridge)
    np.testing.assert_allclose(model.encode_queries(data.queries()), folded_in, atol=1e-5)


def test_the_objective_falls() -> None:
    data = small_data()

    def objective(iterations: int) -> float:
        model = tm.ALS(factors=6, iterations=iterations).fit(data)
        c = observed(model, data)
        user_ridge, item_ridge = ridges(model, c)
        x, y = model.encode_queries(data.queries()), model.item_factors[1:]
        s = x @ y.T
        y = y[c.any(axis=0)]
        return float(
            (c * (1 - s) ** 2).sum()
            + model.unobserved_weight * (s**2).sum()
            + (user_ridge[:, None] * x**2).sum()
            + (item_ridge[c.any(axis=0), None] * y**2).sum()
        )

    values = [objective(n) for n in (1, 2, 4, 8, 16)]
    assert (np.diff(values) <= 1e-3).all()
    assert values[-1] < values[0]


def test_reaches_its_figures_on_movielens_100k(liked_movies: Dataset) -> None:
    split = RandomPerUser(test=0.2, seed=0).split(liked_movies)
    report = tm.evaluate(
        tm.ALS().fit(split.train), split, metrics=["recall@20", "ndcg@10", "ndcg@100"]
    )
    assert report["recall@20"] > 0.37
    assert report["ndcg@10"] > 0.31
    assert report["ndcg@100"] > 0.45


def test_a_known_user_and_a_stranger_with_the_same_history_get_the_same() -> None:
    data = small_data()
    model = tm.ALS(factors=8).fit(data)
    known = data.queries(np.array([3, 9]))
    stranger = Queries.of(data.histories.take([3, 9]))
    np.testing.assert_array_equal(model.encode_queries(known), model.encode_queries(stranger))


def test_a_vector_does_not_depend_on_the_batch() -> None:
    data = small_data()
    model = tm.ALS(factors=8).fit(data)
    queries = data.queries()
    together = model.encode_queries(queries)
    for row in (0, 31, 59):
        np.testing.assert_array_equal(
            model.encode_queries(queries.slice(row, row + 1))[0], together[row]
        )


def test_values_count_only_when_asked_and_only_their_ratios() -> None:
    data = small_data()
    plain, weighted = tm.ALS(factors=8), tm.ALS(factors=8, use_values=True)
    h = data.histories
    tripled = Dataset.from_events(
        data.users, data.items, h.rows_of_events(), h.items, h.times, 3 * h.values
    )
    np.testing.assert_array_equal(
        plain.fit(data).item_factors, tm.ALS(factors=8).fit(tripled).item_factors
    )
    first = weighted.fit(data).item_factors
    np.testing.assert_allclose(
        tm.ALS(factors=8, use_values=True).fit(tripled).item_factors, first, atol=1e-5
    )
    assert np.abs(first - plain.item_factors).max() > 0.01


def test_torch_path_equals_numba() -> None:
    data = small_data()
    on_torch = tm.ALS(factors=7).fit(data, run=tm.Run(device="cpu:0"))
    compiled = tm.ALS(factors=7).fit(data, run=tm.Run(device="cpu"))
    np.testing.assert_allclose(on_torch.item_factors, compiled.item_factors, atol=1e-4)


def test_items_without_events_and_empty_histories_are_zero() -> None:
    data = small_data()
    model = tm.ALS(factors=8).fit(data)
    assert not model.item_factors[[0, -1]].any()
    empty = Queries.of(Histories.from_lists([[], [0]]))
    assert not model.encode_queries(empty).any()


def test_evidence_of_a_history_adds_up_to_its_scores() -> None:
    data = small_data()
    model = tm.ALS(factors=8).fit(data)
    history, items = np.array([2, 5, 11, 30], np.int32), np.arange(1, 20, dtype=np.int32)
    scores = model.score(Queries.of(Histories.from_lists([history])), items)
    evidence = model.evidence(history, items)
    assert evidence.shape == (4, 19)
    np.testing.assert_allclose(evidence.sum(axis=0), scores[0], atol=1e-5)


@pytest.mark.parametrize("factors", [7, 8])
def test_of_many_histories_the_strongest_speak_as_of_each_alone(factors: int) -> None:
    model = tm.ALS(factors=factors, use_values=True).fit(small_data())
    # One with repeats and what is not known, an empty one, one that nothing is shown to.
    histories = Histories.from_lists([[30, 2, 0, 2, 11, 5], [], [3, 1], [7]])
    offsets, items = np.array([0, 9, 12, 12, 19]), np.arange(1, 20, dtype=np.int32)
    found = model.strongest_of(histories, offsets, items)
    for row in range(len(histories)):
        here = slice(offsets[row], offsets[row + 1])
        alone = model.strongest_evidence(histories.items_of(row), items[here])
        np.testing.assert_array_equal(found[here], alone)
    assert set(found[:9].tolist()) > {2}


def test_pairs_of_histories_are_those_of_their_matrix() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 12, n) for n in (0, 1, 30, 7)]
    values = [rng.normal(size=len(row)).astype(np.float32) for row in rows]
    histories = Histories.from_lists(rows, values=values)
    offsets, items, sums = pairs(histories.offsets, histories.items, histories.values, 10)
    matrix = histories.to_csr(10, values=True)
    np.testing.assert_array_equal(offsets, matrix.indptr)
    np.testing.assert_array_equal(items, matrix.indices)
    np.testing.assert_allclose(sums, matrix.data, atol=1e-5)


def test_a_time_budget_ends_the_fit_early() -> None:
    data = small_data()
    stopped = tm.ALS(factors=8, iterations=1000).fit(data, run=tm.Run(time_budget=1e-9))
    np.testing.assert_array_equal(
        stopped.item_factors, tm.ALS(factors=8, iterations=1).fit(data).item_factors
    )


def test_a_run_folder_tells_how_the_fit_went(tmp_path: Path) -> None:
    tm.ALS(factors=8, iterations=3).fit(small_data(), run=tm.Run(folder=tmp_path))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    about = tomllib.loads((tmp_path / "run.toml").read_text())
    assert about["hyperparameters"]["factors"] == 8
    assert about["run"]["status"] == "finished"


def _log(weights: dict[str, float] | None) -> tm.Dataset:
    rng = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "user": rng.integers(0, 30, 400),
            "item": rng.integers(0, 20, 400),
            "kind": rng.choice(["view", "purchase"], 400),
        }
    )
    return tm.Dataset.from_frame(frame, weights=weights)


def test_weights_of_kinds_count_without_being_asked(tmp_path: Path) -> None:
    heavy = tm.ALS(factors=8).fit(_log({"view": 1.0, "purchase": 20.0}))
    asked = tm.ALS(factors=8, use_values=True).fit(_log({"view": 1.0, "purchase": 20.0}))
    plain = tm.ALS(factors=8).fit(_log(None))
    np.testing.assert_array_equal(heavy.item_factors, asked.item_factors)
    assert np.abs(heavy.item_factors - plain.item_factors).max() > 0.01
    heavy.save(tmp_path / "m")
    assert tm.load(tmp_path / "m").recommend([1, 2]).equals(heavy.recommend([1, 2]))


def test_who_only_returned_things_gets_what_is_popular() -> None:
    frame = pl.DataFrame(
        {
            "user": [1, 1, 2, 2, 3],
            "item": [10, 20, 10, 30, 20],
            "rating": [2.0, 1.0, 3.0, 1.0, -2.0],
        }
    )
    model = tm.ALS(factors=4, use_values=True).fit(tm.Dataset.from_frame(frame))
    queries = model.data.queries()
    assert model.knows(queries).tolist() == [True, True, False]
    assert model.answer(queries, 2).source_series().to_list()[-1] == "popularity"
