"""`tastemap tune` from a log to a recipe that `train` and `evaluate` take, ended in every way."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from ran import Command

import tastemap as tm

# Fits of about a second, so that a search can be ended in its middle.
_SLOW = ["--set", "loss=bpr", "--set", "epochs=400", "--set", "patience=400"]
_SLOW += ["--split", "random-per-user", "--depth", "none", "--metric", "ndcg@5"]


def slow_search(shop: Path, out: Path, trials: int) -> list[str]:
    data = ["--data", str(shop / "events.csv"), "--out", str(out), "--trials", str(trials)]
    return ["tune", "matrixfactorization", *data, *_SLOW]


def end_after_two_trials(arguments: list[str], how: signal.Signals) -> tuple[int, str]:
    """Starts a command, sends it a signal after its second trial; its code and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tastemap", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("trial   1"):
            break
    process.send_signal(how)
    _, rest = process.communicate(timeout=120)
    return process.returncode, "".join(lines) + rest


def test_a_search_makes_a_recipe_and_a_report(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    ran = tastemap(
        "tune", "als", "--data", shop / "events.csv", "--split", "random-per-user",
        "--metric", "ndcg@5", "--trials", 4, "--search", "factors=2..8", "--set", "iterations=3",
        "--depth", "2,4,8", "--seeds", 2, "--out", tmp_path / "als", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    said = ran.json
    assert said["part"] == "validation"
    assert len(said["trials"]) == 4
    assert all(2 <= trial["factors"] <= 8 for trial in said["trials"][1:])
    assert set(said["depths"]) == {"2", "4", "8"}
    assert said["best"]["iterations"] == 3
    # It is what fits on the validation part give, with two seeds.
    data = tm.Dataset.from_files(shop / "events.csv")
    split = tm.splits.RandomPerUser(validation=0.1).split(data)
    assert said["fingerprint"] == split.fingerprint
    recipe = tm.Recipe.read(said["recipe"])
    assert dict(recipe.hyperparameters) == {
        name: "none" if value is None else value for name, value in said["best"].items()
    }
    values = [
        tm.evaluate(recipe.make(seed=seed).fit(split.train), split, "ndcg@5", part="validation")[
            "ndcg@5"
        ]
        for seed in "01"
    ]
    assert said["value"] == pytest.approx(sum(values) / 2)
    assert pl.read_csv(tmp_path / "als" / "trials.csv").height == 4
    assert "<svg" in Path(said["report"]).read_text()

    used = tastemap(
        "evaluate", "--data", shop / "events.csv", "--recipe", said["recipe"],
        "--split", "random-per-user", "--metrics", "ndcg@5", "--json",
    )  # fmt: skip
    assert used.code == 0, used.err
    test = tm.splits.RandomPerUser().split(data)
    expected = tm.evaluate(recipe.make().fit(test.train), test, "ndcg@5")
    assert used.json["reports"][0]["metrics"] == pytest.approx(expected.metrics)


def test_recipes_are_trained_by(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    als = tm.Recipe("als", {"factors": 3, "iterations": 2}).write(tmp_path / "a.toml")
    knn = tm.Recipe("itemknn", {"neighbors": 7, "shrinkage": 1.5}).write(tmp_path / "b.toml")
    ran = tastemap(
        "train", "--data", shop / "events.csv", "--no-evaluate", "--recipe", als, "--recipe", knn,
        "--model", "ease", "--set", "als.factors=5", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    ease, first, second = tm.load(tmp_path / "out").retrievers
    assert isinstance(ease, tm.EASE)
    assert (first.factors, first.iterations, second.neighbors) == (5, 2, 7)
    assert second.shrinkage == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "nowhere.toml"], "nowhere.toml: there is no such file"),
        (["--recipe", "{recipe}", "--model", "ALS"], "a model is named twice in als, als"),
        (["--recipe", "{recipe}", "--set", "factors=0"], "factors must be >= 1"),
        (["--recipe", "{recipe}", "--set", "ease.factors=0"], "say of which model"),
        ([], "say which model: --model NAME, or --recipe FILE"),
    ],
)
def test_recipes_that_cannot_be_used(
    arguments: list[str], message: str, tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    recipe = tm.Recipe("als", {"factors": 3}).write(tmp_path / "als.toml")
    filled = [each.format(recipe=recipe) for each in arguments]
    ran = tastemap("evaluate", "--data", shop / "events.csv", *filled)
    assert ran.code == 1
    assert message in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["alz"], 1, "no model 'alz'; did you mean 'als'"),
        (["als", "--search", "factors=9"], 1, "one value is fixed by --set"),
        (["als", "--search", "factor=1..9"], 1, "did you mean 'factors'"),
        (["als", "--set", "factors=none"], 1, "factors must be a whole number"),
        (["als", "--metric", "ndcg@10,recall@10"], 2, "name one metric to go by"),
        (["als", "--split", "none"], 2, "nothing to measure on without a split"),
        (["als", "--depth", "8,many"], 2, "write whole numbers, as in 8,16,32"),
        (["ease", "--depth", "8"], 1, "EASE has no vectors"),
        (["ease", "--split", "random-per-user", "--metric", "rmse"], 1, "does not predict"),
    ],
)
def test_searches_that_cannot_be_made(
    arguments: list[str], code: int, message: str, tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    ran = tastemap("tune", *arguments, "--data", shop / "events.csv", "--out", tmp_path)
    assert ran.code == code
    assert message in " ".join(ran.err.replace("│", " ").split())


def test_a_killed_search_is_gone_on_with_by_the_same_command(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    code, _ = end_after_two_trials(slow_search(shop, tmp_path, 200), signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "report.html").exists()
    ran = tastemap(*slow_search(shop, tmp_path, 5), "--json")
    assert ran.code == 0, ran.err
    trials = ran.json["trials"]
    counted = [trial for trial in trials if trial["state"] != "interrupted"]
    assert len(counted) >= 5
    # The one that was being measured is not taken for a result.
    assert len(trials) - len(counted) <= 1
    assert [trial["trial"] for trial in trials] == list(range(len(trials)))
    again = tastemap(*slow_search(shop, tmp_path, 5), "--json")
    assert again.json["trials"] == trials
    assert again.json["value"] == ran.json["value"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_what_was_found(shop: Path, tmp_path: Path, jobs: int) -> None:
    arguments = [*slow_search(shop, tmp_path, 200), "--jobs", str(jobs)]
    code, said = end_after_two_trials(arguments, signal.SIGINT)
    assert code == 130, said
    assert "Interrupted; the same command goes on from here." in said
    assert "Traceback" not in said
    frame = pl.read_csv(tmp_path / "trials.csv")
    assert (frame["state"] == "measured").sum() >= 1
    recipe = tm.Recipe.read(tmp_path / "matrixfactorization.toml")
    assert recipe.found["value"] == pytest.approx(frame["value"].max(), abs=1e-5)
    assert (tmp_path / "report.html").exists()
