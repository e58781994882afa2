"""Reports and comparisons: what they hold, print and refuse."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from tastemap.data.dataset import Dataset
from tastemap.data.splits import LeaveOneOut, Split
from tastemap.errors import ParameterError
from tastemap.evaluation import Report, compare, evaluate
from tastemap.metrics import bootstrap_interval
from tastemap.retrieval.item_knn import ItemKNN
from tastemap.retrieval.popularity import Popularity

NAMES = ["ndcg@10", "recall@20", "auc", "coverage@10", "popularity_bias@10"]


@pytest.fixture(scope="module")
def split(liked_movies: Dataset) -> Split:
    return LeaveOneOut().split(liked_movies)


@pytest.fixture(scope="module")
def popular(split: Split) -> Report:
    return evaluate(Popularity().fit(split.train), split, NAMES)


@pytest.fixture(scope="module")
def knn(split: Split) -> Report:
    return evaluate(ItemKNN().fit(split.train), split, NAMES)


def test_values_are_found_by_name(knn: Report) -> None:
    assert list(knn.metrics) == NAMES
    assert knn["NDCG@10"] == knn.metrics["ndcg@10"]
    with pytest.raises(ParameterError, match=r"ndcg@5 was not evaluated; there are: ndcg@10"):
        knn["ndcg@5"]


def test_the_mean_and_interval_are_those_of_the_users(knn: Report) -> None:
    values = knn.per_user["ndcg@10"].to_numpy()
    assert knn["ndcg@10"] == pytest.approx(values.mean())
    assert knn.intervals["ndcg@10"] == pytest.approx([float(x) for x in bootstrap_interval(values)])
    assert knn.intervals["coverage@10"] is None


def test_users_have_their_own_ids(knn: Report, split: Split) -> None:
    assert knn.per_user["user"].to_list() == split.train.users.ids(split.test.queries.users)
    assert (knn.per_user["relevant"] == 1).all()


def test_frame(knn: Report) -> None:
    frame = knn.to_frame()
    assert frame.columns == ["model", "metric", "value", "low", "high"]
    assert frame["metric"].to_list() == NAMES
    coverage = frame.row(by_predicate=pl.col("metric") == "coverage@10", named=True)
    assert coverage["low"] is None and coverage["value"] == knn["coverage@10"]


def test_json(knn: Report, tmp_path: Path) -> None:
    written = json.loads(knn.to_json(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == written
    assert written["metrics"]["ndcg@10"] == knn["ndcg@10"]
    assert written["fingerprint"] == knn.fingerprint
    assert len(written["segments"]) == 5
    undefined = replace(knn, metrics={**knn.metrics, "auc": float("nan")})
    assert json.loads(undefined.to_json())["metrics"]["auc"] is None


def test_text_says_what_was_measured(knn: Report) -> None:
    text = str(knn)
    for part in (
        "itemknn on test", "ndcg@10", f"{knn['ndcg@10']:.4f}", "95% interval", "rare items",
        "LeaveOneOut", knn.fingerprint, "seen items left out",
    ):  # fmt: skip
        assert part in text, part
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [40, 200])
def test_tables_render_at_any_width(knn: Report, popular: Report, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(knn, compare([knn, popular]))
    assert "ndcg@10" in console.export_text()


def test_comparison(knn: Report, popular: Report) -> None:
    both = compare([popular, knn])
    frame = both.to_frame()
    assert frame["model"].to_list() == ["popularity", "itemknn"]
    assert frame["auc"].to_list() == [popular["auc"], knn["auc"]]
    text = str(both)
    assert "popularity" in text and f"{knn['auc']:.4f}" in text and knn.fingerprint in text


def test_differences_are_paired(knn: Report, popular: Report) -> None:
    gaps = compare([popular, knn]).differences()
    assert set(gaps["model"]) == {"itemknn"}
    assert gaps["metric"].to_list() == ["ndcg@10", "recall@20", "auc"]
    ndcg = gaps.row(0, named=True)
    assert ndcg["difference"] == pytest.approx(knn["ndcg@10"] - popular["ndcg@10"])
    assert 0 < ndcg["low"] < ndcg["difference"] < ndcg["high"]
    back = compare([popular, knn]).differences(baseline="itemknn")
    np.testing.assert_allclose(back["difference"].to_numpy(), -gaps["difference"].to_numpy())


def test_reports_on_different_queries_are_not_compared(knn: Report, popular: Report) -> None:
    for change, message in (
        ({"fingerprint": "0" * 16}, "split"),
        ({"part": "validation"}, "part"),
        ({"exclude_seen": False}, "exclude_seen"),
        ({"min_value": 4.0}, "min_value"),
        ({"model": "popularity"}, "two reports are of 'popularity'"),
    ):
        with pytest.raises(ParameterError, match=message):
            compare([popular, replace(knn, **change)])  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="at least one"):
        compare([])
    with pytest.raises(ParameterError, match="no report of 'als'"):
        compare([knn]).differences(baseline="als")
