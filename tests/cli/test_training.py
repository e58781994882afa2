"""`train`, `evaluate` and `quickstart` on real logs, from the file to a release that answers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from ran import Command

import tastemap as tm


def test_train_publishes_what_it_measured(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    ran = tastemap(
        "train", "--data", shop / "events.csv", "--model", "itemknn", "--set", "neighbors=7",
        "--metrics", "ndcg@5,recall@5", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    said = ran.json
    popularity, model = said["reports"]
    assert (popularity["model"], model["model"]) == ("popularity", "itemknn")
    assert model["metrics"]["ndcg@5"] > popularity["metrics"]["ndcg@5"]
    release = tm.ReleaseStore(tmp_path / "out").current()
    assert release.version == said["release"]
    assert release.metrics == pytest.approx(model["metrics"])
    loaded = tm.load(tmp_path / "out")
    assert loaded.retrievers[0].neighbors == 7
    # The release has learned from all events, the held-out ones too.
    assert loaded.data.n_events == 600


def test_train_measures_what_the_library_measures(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    ran = tastemap(
        "train", "--data", shop / "events.csv", "--model", "ease", "--split", "leave-one-out",
        "--metrics", "ndcg@5", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    split = tm.splits.LeaveOneOut().split(tm.Dataset.from_files(shop / "events.csv"))
    model = tm.EASE().fit(split.train, validation=split.validation)
    expected = tm.evaluate(model, split, metrics=["ndcg@5"])
    assert ran.json["reports"][1]["metrics"] == pytest.approx(expected.metrics)
    assert ran.json["reports"][1]["fingerprint"] == split.fingerprint


def test_several_models_become_one_pipeline(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    ran = tastemap(
        "train", "--data", shop / "events.csv", "--model", "itemknn", "--model", "ease",
        "--set", "ease.regularization=3", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    names = [report["model"] for report in ran.json["reports"]]
    assert names == ["popularity", "itemknn", "ease", "itemknn+ease"]
    assert ran.json["metrics"] == pytest.approx(ran.json["reports"][-1]["metrics"])
    loaded = tm.load(tmp_path)
    assert [type(each) for each in loaded.retrievers] == [tm.ItemKNN, tm.EASE]
    assert loaded.retrievers[1].regularization == 3


def test_columns_weights_and_tables(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    events = pl.read_csv(shop / "events.csv")
    renamed = events.rename({"user_id": "who", "item_id": "what", "event": "did"})
    renamed.write_parquet(tmp_path / "log.parquet")
    ran = tastemap(
        "train", "--data", tmp_path / "log.parquet", "--user", "who", "--item", "what",
        "--kind", "did", "--weight", "view=1", "--weight", "purchase=5", "--min-value", "5",
        "--items", shop / "products.csv", "--model", "popularity", "--no-evaluate",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    data = tm.load(tmp_path / "out").data
    assert data.n_events == (events["event"] == "purchase").sum()
    assert set(data.histories.values) == {5.0}
    assert data.item_table is not None and "title" in data.item_table.columns


def test_rejected_rows_are_told(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    broken = (shop / "events.csv").read_text() + "u1,p1,yesterday,view\n"
    (tmp_path / "log.csv").write_text(broken)
    arguments = ["train", "--data", tmp_path / "log.csv", "--model", "popularity", "--no-evaluate"]
    refused = tastemap(*arguments, "--out", tmp_path / "a")
    assert refused.code == 1
    assert "row 601" in refused.err and "'yesterday'" in refused.err
    taken = tastemap(
        *arguments, "--out", tmp_path / "b", "--on-bad-rows", "reject",
        "--rejects", tmp_path / "bad.csv",
    )  # fmt: skip
    assert taken.code == 0, taken.err
    assert "warning: 1 of 601 rows were rejected" in taken.err
    assert "yesterday" in (tmp_path / "bad.csv").read_text()
    assert tm.load(tmp_path / "b").data.n_events == 600


def test_nothing_is_trained_for_a_place_that_cannot_be(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    ran = tastemap("train", "--data", shop / "events.csv", "--out", tmp_path)
    assert ran.code == 1
    assert "is not a release store" in ran.err
    assert "Training" not in ran.err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_ctrl_c_ends_training_and_publishes_nothing(movies: tm.Dataset, tmp_path: Path) -> None:
    arguments = ["--data", "movielens-100k", "--model", "als", "--set", "iterations=1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemap", "train", *arguments, "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Evaluating popularity" in line:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "\nInterrupted.\n"
    assert list(tmp_path.iterdir()) == []


def test_evaluate_shows_models_side_by_side(tastemap: Command, shop: Path) -> None:
    arguments = ["evaluate", "--data", shop / "events.csv", "--model", "itemknn", "--model", "ease"]
    table = tastemap(*arguments, "--metrics", "ndcg@5,coverage@5")
    assert table.code == 0, table.err
    said = tastemap(*arguments, "--metrics", "ndcg@5,coverage@5", "--json").json
    for report in said["reports"]:
        low, high = report["intervals"]["ndcg@5"]
        row = f"{report['metrics']['ndcg@5']:.4f}"
        assert report["model"] in table.out
        assert row in table.out and f"{low:.4f}–{high:.4f}" in table.out
    assert "GlobalTime" in said["split"]


def test_evaluate_over_seeds(tastemap: Command, shop: Path) -> None:
    arguments = ["evaluate", "--data", shop / "events.csv", "--model", "popularity"]
    arguments += ["--model", "matrixfactorization", "--set", "matrixfactorization.loss=bpr"]
    arguments += ["--set", "matrixfactorization.epochs=3", "--metrics", "ndcg@5", "--seeds", "2"]
    reports = tastemap(*arguments, "--json").json["reports"]
    runs = [(report["model"], report["seed"]) for report in reports]
    # Popularity draws nothing, so it runs once.
    assert runs == [("popularity", 0), ("matrixfactorization", 0), ("matrixfactorization", 1)]
    first, second = (report["metrics"]["ndcg@5"] for report in reports[1:])
    assert first != second
    assert f"{(first + second) / 2:.4f} ± " in tastemap(*arguments).out


def test_quickstart_publishes_films(
    tastemap: Command, movies: tm.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = tastemap("quickstart", "--model", "ease", "--no-serve")
    assert ran.code == 0, ran.err
    for line in ("1  Data", "2  Split", "✓ Training ease", "tastemap serve --release demo"):
        assert line in ran.err
    release = tm.ReleaseStore("demo").current()
    rows = [line.split() for line in ran.out.splitlines()]
    ndcg = {row[0]: float(row[1]) for row in rows if row and row[0] in ("popularity", "ease")}
    assert ndcg["ease"] > 1.3 * ndcg["popularity"]
    assert release.metrics["ndcg@10"] == pytest.approx(ndcg["ease"], abs=1e-4)
    shown = tastemap("recommend", "--release", "demo", "--user", "1", "-k", "3")
    assert shown.out.count("(19") == 3
