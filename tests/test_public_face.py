"""The names that others script against, as the README shows them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mypy.api
import numpy as np
import pandas as pd
import polars as pl
import pytest

import tastemap as tm
from tastemap.retrieval.table import model_class, model_names


def test_the_readmes_lines(tmp_path: Path) -> None:
    data = tm.datasets.load("movielens-100k")
    split = tm.splits.LeaveOneOut().split(data)
    model = tm.ALS(factors=32).fit(split.train, validation=split.validation)
    report = tm.evaluate(model, split, metrics=["ndcg@10", "recall@20", "coverage@10"])
    assert report["ndcg@10"] > 0.03
    assert split.fingerprint in str(report.to_dict())
    answers = model.recommend(users=["1", "2", "somebody new"], k=10)
    assert answers.columns == ["user", "item", "rank", "score"]
    assert answers["user"].unique(maintain_order=True).to_list() == ["1", "2", "somebody new"]
    assert answers["rank"].to_list() == list(range(1, 11)) * 3
    strangers = model.recommend(histories=[["50", "181"]], k=10)
    assert strangers["user"].to_list() == [0] * 10
    assert not {"50", "181"} & set(strangers["item"])
    model.save(tmp_path / "out")
    again = tm.load(tmp_path / "out")
    assert again.recommend(users=["1"], k=10).equals(model.recommend(users=["1"], k=10))


def test_ratings_are_predicted_in_order() -> None:
    data = tm.datasets.load("movielens-100k")
    model = tm.MatrixFactorization(factors=16, epochs=5).fit(data)
    users, items = ["1", "7", "1", "nobody"], ["50", "50", "181", "50"]
    ratings = model.predict(users=users, items=items, times=None)
    assert ratings.shape == (4,)
    assert ((ratings >= 1) & (ratings <= 5)).all()
    one = [model.predict(users=[u], items=[i])[0] for u, i in zip(users, items, strict=True)]
    np.testing.assert_allclose(ratings, one, rtol=1e-5)


def test_integer_ids_stay_integers() -> None:
    frame = pd.DataFrame(
        {"user": [1, 1, 2, 2, 3], "item": [10, 20, 10, 20, 10], "timestamp": [1, 2, 3, 4, 5]}
    )
    data = tm.Dataset.from_frame(frame, user="user", item="item", time="timestamp")
    model = tm.EASE(regularization=1.0).fit(data)
    found = model.recommend(users=[3], k=1)
    assert found.row(0)[:3] == (3, 20, 1)
    assert found.schema["item"] == pl.Int64
    assert model.recommend(users=["3"], k=1)["item"].to_list() == [20]


def test_importing_costs_no_torch() -> None:
    code = (
        "import sys, tastemap as tm; tm.Dataset; tm.splits; tm.ItemKNN; tm.Pipeline; tm.load;"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SVD'"):
        tm.SVD  # noqa: B018
    assert {"ALS", "Dataset", "evaluate", "load"} <= set(dir(tm))


def test_a_type_checker_knows_that_every_model_needs_no_arguments(tmp_path: Path) -> None:
    made = [f"tm.{model_class(name).__name__}()" for name in model_names()]
    script = tmp_path / "script.py"
    script.write_text("\n".join(["import tastemap as tm", *made]))
    out, err, status = mypy.api.run(["--strict", str(script)])
    assert status == 0, out + err
