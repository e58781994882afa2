"""The rows of the ranking suite: parted by time, and nothing of a later part in an earlier one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks import differences, ranking_rows
from benchmarks.evaluator import judge_clicks
from benchmarks.ranking_rows import LABEL, OF_TIME, OF_USERS, Rows, columns, labelled_rows
from tastemap.metrics import click_auc


@pytest.fixture(scope="module", params=[OF_USERS, OF_TIME])
def rows(request: pytest.FixtureRequest) -> Rows:
    return labelled_rows("movielens-100k", request.param)


def test_parts_are_of_the_stated_sizes(rows: Rows) -> None:
    sizes = np.array([rows.train.height, rows.validation.height, rows.test.height])
    assert sizes.sum() == 100_000
    np.testing.assert_allclose(sizes / 1e5, [0.72, 0.08, 0.2], atol=0.006)
    for part in (rows.train, rows.validation, rows.test):
        assert set(part[LABEL].unique()) == {0, 1}
        assert "value" not in part.columns and "time" not in part.columns


def test_each_users_last_fifth_is_the_test() -> None:
    rows = labelled_rows("movielens-100k", OF_USERS)
    known = pl.concat([rows.train, rows.validation])
    counts = known["user"].value_counts().join(rows.test["user"].value_counts(), on="user")
    assert counts.height == 943
    shares = counts["count_right"] / (counts["count"] + counts["count_right"])
    assert shares.min() >= 0.2
    assert shares.max() < 0.25


def test_by_time_most_test_rows_are_of_users_never_seen() -> None:
    rows = labelled_rows("movielens-100k", OF_TIME)
    new = ~rows.test["user"].is_in(rows.train["user"].unique().implode())
    assert new.mean() > 0.5


def test_columns_are_plain_arrays_of_text_and_numbers(rows: Rows) -> None:
    found = columns(rows.test)
    assert LABEL not in found
    assert {column.dtype.kind for column in found.values()} == {"U", "f"}
    assert "|" in "".join(found["genres"][:100])


def test_judged_by_order_and_by_size(rows: Rows) -> None:
    labels, users = rows.test[LABEL].to_numpy(), rows.test["user"].to_numpy()
    best = judge_clicks(labels * 0.8 + 0.1, labels, users)
    assert best["auc"] == best["gauc"] == 1
    assert best["log-loss"] == pytest.approx(-np.log(0.9))
    assert judge_clicks(np.full(len(labels), 0.5), labels, users)["auc"] == 0.5


def test_the_past_is_what_came_in_earlier_seconds() -> None:
    rng = np.random.default_rng(0)
    n = 300
    rows = pl.DataFrame(
        {
            "user": [f"u{x}" for x in rng.integers(5, size=n)],
            "item": [f"i{x}" for x in rng.integers(20, size=n)],
            "time": np.sort(rng.integers(60, size=n)).astype(float),
            LABEL: rng.integers(2, size=n).astype(np.int32),
        }
    )
    totals = ranking_rows._before(rows, ["user"], "user")
    liked, disliked = ranking_rows._last(rows)
    for place, row in enumerate(totals.iter_rows(named=True)):
        before = rows.filter(pl.col("user") == row["user"], pl.col("time") < row["time"])
        assert row["user_count"] == before.height
        share = (before[LABEL].sum() + 15 * 0.55) / (before.height + 15)
        assert row["user_rate"] == pytest.approx(share)
        assert liked[place].to_list() == before.filter(pl.col(LABEL) == 1)["item"].to_list()
        assert disliked[place].to_list() == before.filter(pl.col(LABEL) == 0)["item"].to_list()


def test_aucs_of_draws_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=80)
    scores = np.round(rng.random(80) + 0.5 * labels, 1)  # with ties
    drawn = np.bincount(rng.integers(80, size=80), minlength=80)
    found = differences._aucs(scores, labels, [np.ones(80), drawn])
    again = np.repeat(np.arange(80), drawn)
    expected = [click_auc(scores, labels), click_auc(scores[again], labels[again])]
    np.testing.assert_allclose(found, expected)
