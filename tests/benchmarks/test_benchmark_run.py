"""A run from end to end with our own models, which need no environment of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tastemap as tm
from benchmarks import results
from benchmarks.contenders import ALL
from benchmarks.environments import CONTENDERS
from benchmarks.report.page import render
from benchmarks.run import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    options = ["--dataset", "movielens-100k", "--seeds", "1", "--out", str(out)]
    chosen = ["--contender", "tastemap-popularity", "--contender", "tastemap-item-knn"]
    done = CliRunner().invoke(app, ["topn", *options, *chosen])
    assert done.exit_code == 0, done.output
    return out


def test_popularity_is_where_it_must_be_and_neighbours_are_better(folder: Path) -> None:
    result = json.loads((folder / "topn-movielens-100k.json").read_text())
    figures = {
        name: [run["ndcg@10"] for run in entry["runs"]]
        for name, entry in result["contenders"].items()
    }
    assert all(0.13 < value < 0.18 for value in figures["tastemap-popularity"])
    assert min(figures["tastemap-item-knn"]) > max(figures["tastemap-popularity"]) + 0.05


def test_what_comes_next_is_asked_and_judged(tmp_path: Path) -> None:
    options = ["--dataset", "movielens-100k", "--seeds", "1", "--out", str(tmp_path)]
    chosen = ["--contender", "tastemap-popularity-next"]
    done = CliRunner().invoke(app, ["sequences", *options, *chosen])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "sequences-movielens-100k.json").read_text())
    (run,) = result["contenders"]["tastemap-popularity-next"]["runs"]
    split = tm.splits.LeaveOneOut().split(tm.datasets.load("movielens-100k"))
    report_of_ours = tm.evaluate(tm.Popularity().fit(split.train), split, metrics=["ndcg@10"])
    assert run["ndcg@10"] == pytest.approx(report_of_ours["ndcg@10"], abs=2e-3)
    assert run["hr@10"] > run["ndcg@10"]
    assert "## What is chosen next" in render(results.read(tmp_path))


def test_the_page_holds_what_was_measured(folder: Path) -> None:
    page = render(results.read(folder))
    result = json.loads((folder / "topn-movielens-100k.json").read_text())
    assert "| tastemap ItemKNN | **" in page
    assert all(digest in page for digest in result["splits"].values())
    assert result["machine"] in page


def test_an_unknown_contender_is_named_with_those_that_exist() -> None:
    done = CliRunner().invoke(app, ["topn", "--contender", "nobody"])
    assert done.exit_code == 2
    assert "nobody" in done.output and "implicit-als" in done.output


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_contender_has_its_script_and_every_rival_exact_pins(name: str) -> None:
    contender = ALL[name]
    place = CONTENDERS / contender.package
    assert (place / contender.script).is_file()
    if contender.package != "tastemap":
        pins = (place / "requirements.txt").read_text().split()
        assert pins and all(pin.count("==") == 1 for pin in pins)


def test_a_run_of_some_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    def measured(*names: str, gap: float) -> dict[str, Any]:
        ours = [name for name in names if name != "CatBoost"]
        return {
            "splits": {"0": "abc"},
            "contenders": {name.lower(): {"title": name, "gap": gap} for name in names},
            "differences": [
                {"model": name, "baseline": "CatBoost", "difference": [gap]}
                for name in ours
                if "CatBoost" in names
            ],
        }

    def written(*names: str, gap: float) -> tuple[list[str], dict[str, float]]:
        path = results.write("ranking", "some", measured(*names, gap=gap), tmp_path)
        result = json.loads(path.read_text())
        gaps = {each["model"]: each["difference"][0] for each in result["differences"]}
        return sorted(result["contenders"]), gaps

    everyone = ["catboost", "fm", "stagedfm"]
    assert written("FM", "StagedFM", "CatBoost", gap=1) == (everyone, {"FM": 1, "StagedFM": 1})
    # What FM was before says nothing of what it is now.
    assert written("FM", gap=2) == (everyone, {"StagedFM": 1})
    assert written("FM", "CatBoost", gap=3) == (everyone, {"FM": 3})
