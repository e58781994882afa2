"""Evaluation of anybody's recommendations, given as frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tastemap import metrics as m
from tastemap.data.dataset import Dataset
from tastemap.data.splits import RandomPerUser
from tastemap.errors import DataError, ParameterError
from tastemap.evaluation import evaluate, evaluate_frame
from tastemap.retrieval.item_knn import ItemKNN

RECS = pl.DataFrame(
    {
        "user": ["a", "a", "a", "b", "b", "z"],
        "item": ["x", "y", "w", "v", "x", "x"],
        "score": [0.2, 0.9, 0.5, -1.0, -2.0, 1.0],
    }
)
TRUTH = pl.DataFrame({"user": ["a", "a", "b", "c"], "item": ["x", "y", "x", "x"]})


def test_by_hand() -> None:
    report = evaluate_frame(RECS, TRUTH, ["recall@2", "mrr@2", "coverage@1"], catalogue=10)
    # a's list is y, w, x; b's is v, x; c has none; z is not asked for.
    assert report.per_user["user"].to_list() == ["a", "b", "c"]
    assert report.per_user["recall@2"].to_list() == [1 / 2, 1.0, 0.0]
    assert report.per_user["mrr@2"].to_list() == [1.0, 1 / 2, 0.0]
    assert report["coverage@1"] == pytest.approx(2 / 10)
    assert report["recall@2"] == pytest.approx(1 / 2)
    assert report.n_items == 10
    assert "recall@2" in str(report)


def test_rank_goes_before_score_and_the_order_of_rows_does_not_matter() -> None:
    ranked = RECS.with_columns(rank=pl.Series([1, 3, 2, 1, 2, 1]))
    for frame in (ranked, ranked.sample(fraction=1, shuffle=True, seed=1)):
        report = evaluate_frame(frame, TRUTH, "mrr@1")
        assert dict(report.per_user.select("user", "mrr@1").iter_rows()) == {"a": 1, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "form", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow(), lambda f: f.lazy()]
)
def test_any_frame_will_do(form: Any) -> None:
    expected = evaluate_frame(RECS, TRUTH, "ndcg@3").metrics
    assert evaluate_frame(form(RECS), form(TRUTH), "ndcg@3").metrics == expected


def test_integer_and_text_ids_match() -> None:
    recs = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [10, 11, 10], "score": [2.0, 1.0, 1.0]})
    truth = pd.DataFrame({"user": ["1", "2"], "item": ["11", "10"]})
    assert evaluate_frame(recs, truth, "mrr@5")["mrr@5"] == pytest.approx((1 / 2 + 1) / 2)


def test_a_larger_frame_agrees_with_lists_made_by_hand() -> None:
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(80)[:12] for _ in range(50)])
    relevant = np.array([rng.permutation(80)[:9] for _ in range(45)])
    recs = pl.DataFrame(
        {
            "user": np.repeat(np.arange(50), 12),
            "item": lists.ravel(),
            "score": np.tile(np.arange(12, 0, -1) / 7, 50),
        }
    ).sample(fraction=1, shuffle=True, seed=0)
    truth = pl.DataFrame({"user": np.repeat(np.arange(45), 9), "item": relevant.ravel()})
    judged = m.judge(lists[:45] + 1, np.arange(0, 406, 9), relevant.ravel() + 1)
    report = evaluate_frame(recs, truth, ["ndcg@10", "map@10", "recall@5", "mrr@10"])
    for name in report.metrics:
        metric = m.Metric.parse(name)
        expected = getattr(m, metric.name)(*judged, metric.k)
        np.testing.assert_allclose(report.per_user[name].to_numpy(), expected, atol=1e-15)


def test_a_models_recommendations_get_the_figures_of_the_model(liked_movies: Dataset) -> None:
    split = RandomPerUser(test=0.2, seed=0).split(liked_movies)
    model = ItemKNN().fit(split.train)
    names = [
        "ndcg@10", "recall@20", "coverage@10", "gini@10", "novelty@10", "arp@10",
        "popularity_bias@10", "serendipity@10", "intra_list_diversity@10",
    ]  # fmt: skip
    expected = evaluate(model, split, names)
    users = split.train.users.ids(split.test.queries.users)
    truth = pl.DataFrame(
        {
            "user": np.array(users, dtype=object)[split.test.truth.rows_of_events()],
            "item": split.train.items.ids(split.test.truth.items),
        },
        schema={"user": pl.String, "item": pl.String},
    )
    report = evaluate_frame(
        model.recommend(users=users, k=20),
        truth,
        names,
        catalogue=split.train.items.ids(range(1, len(split.train.items))),
        train=split.train,
        items=split.train.item_table,
    )
    assert report.metrics == pytest.approx(expected.metrics)
    assert report.intervals["ndcg@10"] == pytest.approx(expected.intervals["ndcg@10"])
    numbers = ["users", "ndcg@10", "recall@20"]
    for name in numbers:
        np.testing.assert_allclose(
            report.segments[name].to_numpy(), expected.segments[name].to_numpy()
        )


def test_vectors_tell_items_apart() -> None:
    vectors = pl.DataFrame({"item": ["x", "y", "w"], "a": [1.0, 0, 1], "b": [0.0, 2, 0]})
    report = evaluate_frame(RECS, TRUTH, "intra_list_diversity@2", items=vectors)
    # a's first two are y and w, at right angles; v is unknown and alike to nothing.
    assert report.per_user["intra_list_diversity@2"].to_list() == [1.0, 1.0, None]


def test_ratings() -> None:
    predicted = RECS.rename({"score": "prediction"})
    truth = pl.DataFrame(
        {"user": ["b", "a", "a"], "item": ["x", "y", "x"], "rating": [1.0, 0.9, 3.2]}
    )
    report = evaluate_frame(predicted, truth, ["rmse", "mae"])
    assert report["rmse"] == pytest.approx(((3.0**2 + 0 + 3.0**2) / 3) ** 0.5)
    assert report["mae"] == pytest.approx(2.0)
    assert report.per_user["mae"].to_list() == pytest.approx([3.0, 1.5])


def test_min_value_chooses_what_is_relevant() -> None:
    truth = TRUTH.with_columns(value=pl.Series([5.0, 1.0, 4.0, 2.0]))
    report = evaluate_frame(RECS, truth, "recall@3", min_value=4)
    assert report.per_user["relevant"].to_list() == [1, 1, 0]
    assert report["recall@3"] == 1.0


def test_the_fingerprint_is_of_the_truth_in_any_order() -> None:
    first = evaluate_frame(RECS, TRUTH, "mrr@2").fingerprint
    assert evaluate_frame(RECS.head(2), TRUTH.reverse(), "mrr@2").fingerprint == first
    assert evaluate_frame(RECS, TRUTH.head(3), "mrr@2").fingerprint != first


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"recommendations": RECS.drop("user")}, DataError, "recommendations.*no user column"),
        ({"recommendations": RECS.drop("score")}, DataError, "neither a column 'rank' nor 'score'"),
        ({"truth": TRUTH.drop("item")}, DataError, "truth.*no item column"),
        ({"truth": TRUTH.clear()}, ParameterError, "truth has no row"),
        ({"truth": [1, 2]}, DataError, "truth"),
        (
            {
                "recommendations": RECS.with_columns(
                    score=pl.Series([1.0, 2.0, None, 4.0, 5.0, 6.0])
                )
            },
            DataError,
            "recommendations, row 3, column 'score'.*not a finite number",
        ),
        (
            {"recommendations": RECS.with_columns(rank=pl.Series([1, 2, 2, 1, 2, 1]))},
            DataError,
            "row 3.*rank.*twice",
        ),
        (
            {"truth": pl.DataFrame({"user": ["a", None], "item": ["x", "y"]})},
            DataError,
            "truth, row 2, column 'user'.*missing",
        ),
        ({"catalogue": ["x", "y"]}, DataError, "row 3.*'w'.*not in the catalogue"),
        ({"catalogue": 3}, ParameterError, "3 items, but the frames hold 4"),
        ({"metrics": "auc"}, ParameterError, "whole catalogue"),
        ({"metrics": "novelty@5"}, ParameterError, "give train="),
        ({"metrics": "intra_list_diversity@5"}, ParameterError, "tell items apart"),
        ({"metrics": "rmse"}, DataError, "truth.*no column 'value'"),
        (
            {"metrics": "rmse", "truth": TRUTH.with_columns(value=pl.lit(3.0))},
            DataError,
            "1 of 4 true pairs have no prediction; first user 'c', item 'x'",
        ),
        (
            {
                "metrics": "rmse",
                "truth": TRUTH.with_columns(value=pl.lit(3.0)),
                "recommendations": pl.concat([RECS, RECS.head(1)]),
            },
            DataError,
            "row 7.*predicted twice",
        ),
        ({"confidence": 0.0}, ParameterError, "confidence"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"recommendations": RECS, "truth": TRUTH, "metrics": "ndcg@10"}
    with pytest.raises(error, match=message):
        evaluate_frame(**{**arguments, **change})
