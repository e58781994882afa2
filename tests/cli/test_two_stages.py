"""Two stages from the command line: by options, by a recipe, shown, and retrained."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ran import Command

import tastemap as tm
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event

RECIPE = """
candidates = 25

[retrievers.itemknn]
neighbors = 7

[retrievers.popularity]

[ranker]
model = "lightgbm"

[ranker.hyperparameters]
trees = 20
min_rows = 5

[ranker.out_of_time]
share = 0.4
moments = 3
held_out = 0.3

[ranker.features]
length = 10

[ranker.long_tail]
share = 0.1
"""
OPTIONS = (
    "--model", "itemknn", "--model", "popularity", "--ranker", "lightgbm", "--candidates", 25,
    "--set", "itemknn.neighbors=7", "--set", "lightgbm.trees=20", "--set", "lightgbm.min_rows=5",
    "--set", "out_of_time.share=0.4", "--set", "out_of_time.moments=3",
    "--set", "out_of_time.held_out=0.3",
    "--set", "features.length=10", "--set", "long_tail.share=0.1",
)  # fmt: skip


def test_options_make_a_release_of_two_stages_that_is_retrained(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    data, out = ("--data", shop / "events.csv"), tmp_path / "demo"
    ran = tastemap("train", *data, *OPTIONS, "--metrics", "ndcg@5", "--out", out, "--json")
    assert ran.code == 0, ran.err
    said = ran.json
    both = "itemknn+popularity>lightgbm"
    assert [each["model"] for each in said["reports"]] == ["itemknn", "popularity", both]
    assert (said["models"], said["ranker"]) == (["itemknn", "popularity"], "lightgbm")
    assert said["metrics"] == pytest.approx(said["reports"][-1]["metrics"])
    assert "Training lightgbm on what itemknn and popularity propose" in ran.err
    # What was measured is what the library measures.
    dataset = tm.Dataset.from_files(shop / "events.csv")
    split = tm.splits.GlobalTime().split(dataset)
    (tmp_path / "two.toml").write_text(RECIPE)
    pipeline = tm.PipelineRecipe.read(tmp_path / "two.toml").make()
    expected = tm.evaluate(pipeline.fit(split.train), split, metrics=["ndcg@5"])
    assert said["metrics"] == pytest.approx(expected.metrics)
    listed = tastemap("releases", "list", "--release", out)
    assert "itemknn+popularity > lightgbm" in listed.out
    # The trainer keeps both stages with their settings.
    log = EventLog(tmp_path / "demo-state")
    new = [(f"u{user}", f"p{(7 * user + n) % 30}") for user in range(60) for n in range(6)]
    log.append([[Event(*pair, "view", 1.8e9 + n, 1.0) for n, pair in enumerate(new)]])
    # The ranker learns from what was shown, which is no event of anybody's history.
    log.append([[Event("u1", "p1", "impression", 1.8e9 + n, 1.0) for n in range(20)]])
    log.close()
    retrained = tastemap("trainer", "--release", out, "--once", "--json", "--margin", 0.9)
    assert retrained.code == 0, retrained.err
    assert retrained.json["outcome"] == "published", retrained.json
    loaded = tm.load(out)
    assert loaded.data.n_events > 600
    assert loaded.stage is not None
    assert (loaded.name, loaded.candidates) == (both, 25)
    assert (loaded.ranker.trees, loaded.rows.moments, loaded.features.length) == (20, 3, 10)
    assert (loaded.long_tail.share, loaded.retrievers[0].neighbors) == (0.1, 7)


def test_a_recipe_says_what_the_options_say(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(RECIPE)
    arguments = ["train", "--data", shop / "events.csv", "--no-evaluate"]
    for out, asked in (("a", OPTIONS), ("b", ("--recipe", tmp_path / "two.toml"))):
        ran = tastemap(*arguments, *asked, "--out", tmp_path / out)
        assert ran.code == 0, ran.err
    by_options, by_recipe = (tm.load(tmp_path / out) for out in "ab")
    users = [f"u{user}" for user in range(60)]
    assert by_recipe.recommend(users, k=10).equals(by_options.recommend(users, k=10))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--ranker", "lightgmb"], "no ranker 'lightgmb'; did you mean 'lightgbm'"),
        (["--ranker", "fm", "--set", "fm.dims=3"], "FM has no hyper-parameter 'dims'; did you"),
        (["--ranker", "fm", "--set", "horizon=3"], "say of which model, such as out_of_time.hor"),
        (["--ranker", "fm", "--set", "out_of_time.horizon=0"], "horizon must be >= 1"),
        (["--ranker", "fm", "--recipe", "ranker.toml"], "two rankers are named, 'dcnv2' and 'fm'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    asked: list[str], message: str, tastemap: Command, shop: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("ranker.toml").write_text('[ranker]\nmodel = "dcnv2"')
    ran = tastemap("train", "--data", shop / "events.csv", *asked, "--out", "out")
    assert ran.code == 1
    assert message in ran.err
    assert "Training" not in ran.err


def test_data_without_times_and_models_alone_have_no_second_stage(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    timeless = tmp_path / "log.csv"
    timeless.write_text("user,item\n" + "".join(f"u{n % 7},p{n % 11}\n" for n in range(70)))
    arguments = ["--data", timeless, "--split", "random-per-user", "--out", tmp_path / "out"]
    ran = tastemap("train", *arguments, "--model", "itemknn", "--ranker", "lightgbm")
    assert ran.code == 1
    assert "this data set has no times" in ran.err and "Training" not in ran.err
    (tmp_path / "two.toml").write_text(RECIPE)
    ran = tastemap("evaluate", "--data", shop / "events.csv", "--recipe", tmp_path / "two.toml")
    assert ran.code == 1
    assert "a recipe has the ranker 'lightgbm' too; `tastemap train` evaluates both" in ran.err


def test_circumstances_are_kept_and_asked_in(tastemap: Command, tmp_path: Path) -> None:
    rows = [
        f"u{n % 20},{'tea' if n % 2 else 'beer'}{n % 8},{8 if n % 2 else 20}" for n in range(400)
    ]
    (tmp_path / "log.csv").write_text("user,item,hour\n" + "\n".join(rows))
    ran = tastemap(
        "train", "--data", tmp_path / "log.csv", "--context", "hour", "--split", "none",
        "--model", "contextpostfilter", "--set", "model=popularity", "--set", "columns=hour",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for hour, drink in ((8, "tea"), (20, "beer")):
        asked = ("--user", "u1", "--context", f"hour={hour}", "--include-seen", "-k", 3, "--json")
        ran = tastemap("recommend", "--release", tmp_path / "out", *asked)
        assert ran.code == 0, ran.err
        assert all(each["item"].startswith(drink) for each in ran.json["answers"][0]["items"])
    asked = ("--user", "u1", "--context", "our=8")
    ran = tastemap("recommend", "--release", tmp_path / "out", *asked)
    assert ran.code == 1
    assert "the events have no such column (it has: hour)" in ran.err


def test_what_was_shown_is_not_learned_as_taken(
    tastemap: Command, shop: Path, tmp_path: Path
) -> None:
    taken = pl.read_csv(shop / "events.csv")
    shown = taken.with_columns(event=pl.lit("impression")).sample(100, seed=0)
    log = pl.concat([taken.with_columns(event=pl.lit("view")), shown])
    log.write_csv(tmp_path / "log.csv")
    out = tmp_path / "demo"
    options = (*OPTIONS, "--data", tmp_path / "log.csv", "--kind", "event", "--no-evaluate")
    ran = tastemap("train", *options, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert "100 impressions and skips are no events that somebody chose" in ran.err
    assert tm.load(out).data.n_events == taken.height
