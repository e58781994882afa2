"""Help, lists, releases, and what wrong input gets to hear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from ran import Command

import tastemap as tm
from tastemap.cli import app
from tastemap.cli.training import make_place
from tastemap.errors import ReleaseError
from tastemap.ranking.table import ranker_class, ranker_names
from tastemap.retrieval.table import model_class, model_names


def all_commands() -> list[list[str]]:
    """The words of every command, groups too."""
    root = typer.main.get_command(app)
    found: list[list[str]] = [[]]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_help(tastemap: Command, words: list[str]) -> None:
    ran = tastemap(*words, "--help")
    assert ran.code == 0
    assert "Usage: tastemap" in ran.out
    assert (
        len(words) == 0
        or words in (["data"], ["keys"], ["releases"], ["rules"])
        or "Example" in ran.out
    )


def test_the_commands_of_the_readme_are_all() -> None:
    assert {words[0] for words in all_commands() if words} == {
        "quickstart", "data", "models", "train", "evaluate", "recommend", "similar", "serve",
        "releases", "rules", "tune", "keys", "trainer", "batch", "ingest",
    }  # fmt: skip


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from tastemap.cli import app; "
        "heavy = {'numpy', 'polars', 'pyarrow', 'torch', 'numba', 'fastapi', 'matplotlib'}; "
        "print(*heavy & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("\n", "")


def test_version(tastemap: Command) -> None:
    assert tastemap("--version").out == f"tastemap {tm.__version__}\n"


def test_models(tastemap: Command) -> None:
    listed = tastemap("models", "--json").json
    assert [each["name"] for each in listed] == [*model_names(), *ranker_names()]
    stages = ["retrieval"] * len(model_names()) + ["ranking"] * len(ranker_names())
    assert [each["stage"] for each in listed] == stages
    shown = tastemap("models").out
    classes = {
        **{name: model_class(name) for name in model_names()},
        **{name: ranker_class(name) for name in ranker_names()},
    }
    for name, cls in classes.items():
        assert name in shown
        details = tastemap("models", name).out
        for hyperparameter in cls.hyperparameters().values():
            assert hyperparameter.name in details
            # A long text goes over several lines of its cell.
            assert set(hyperparameter.help.split()) <= set(details.split())
            assert hyperparameter.bounds in details


def test_what_models_shows_as_default_is_what_set_takes(tastemap: Command) -> None:
    for name in model_names():
        for each in tastemap("models", name, "--json").json["hyperparameters"]:
            value = each["default"]
            text = "none" if value is None else str(value).lower()
            model = model_class(name).from_text({each["name"]: text})
            assert getattr(model, each["name"]) == value


def test_data(tastemap: Command, movies: tm.Dataset, shop: Path) -> None:
    listed = {each["name"]: each for each in tastemap("data", "list", "--json").json}
    assert listed["movielens-100k"]["users"] == 943
    assert listed["movielens-100k"]["cached"] is not None
    assert "movielens-1m" in tastemap("data", "list").out
    place = tastemap("data", "fetch", "movielens-100k").out.strip()
    assert place == listed["movielens-100k"]["cached"]
    described = tastemap("data", "describe", shop / "events.csv", "--json").json
    assert (described["events"], described["users"], described["items"]) == (600, 60, 30)
    assert "600" in tastemap("data", "describe", shop / "events.csv", "--kind", "event").out


def test_releases(tastemap: Command, shop: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for model in ("popularity", "itemknn", "ease"):
        tastemap(
            "train",
            "--data",
            shop / "events.csv",
            "--model",
            model,
            "--no-evaluate",
            "--out",
            store,
        )
    listed = tastemap("releases", "list", "--release", store, "--json").json
    assert [each["models"] for each in listed] == [["ease"], ["itemknn"], ["popularity"]]
    assert [each["is_current"] for each in listed] == [True, False, False]
    newest, middle, oldest = (each["version"] for each in listed)
    assert newest in tastemap("releases", "list", "--release", store).out

    assert middle in tastemap("releases", "rollback", "--release", store).out
    assert tm.ReleaseStore(store).current_version() == middle
    ran = tastemap("releases", "rollback", "--release", store, "--to", oldest, "--json")
    assert ran.json["version"] == oldest

    assert tastemap("releases", "check", "--release", store, "--all").code == 0
    damaged = next((store / middle).glob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    ran = tastemap("releases", "check", "--release", store, "--all", "--json")
    assert ran.code == 1
    assert [bool(each["problems"]) for each in ran.json] == [False, True, False]
    assert tastemap("releases", "rollback", "--release", store, "--to", middle).code == 1
    assert tm.ReleaseStore(store).current_version() == oldest

    ran = tastemap("releases", "prune", "--release", store, "--keep", 1, "--json")
    assert ran.json == {"deleted": [middle]}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("models alz", 1, "did you mean 'als'?"),
        ("train --data {events} --out {out} --set neighbours=3", 1, "no hyper-parameter"),
        ("train --data {events} --out {out} --set neighbors=many", 1, "neighbors must be a whole"),
        ("train --data {events} --out {out} --set neighbors=0", 1, "neighbors must be >= 1"),
        ("train --data {events} --out {out} --set neighbors", 2, "NAME=VALUE"),
        ("train --data {events} --out {out} --set neighbors=1 --set neighbors=2", 2, "given twice"),
        ("train --data {events} --out {out} --model ease --set neighbors=1", 1, "as itemknn.neigh"),
        ("train --data {events} --out {out} --model itemknn", 1, "named twice"),
        ("train --data {events} --out {out} --weight view=much", 2, "view=much is not a number"),
        ("train --data {events} --out {out} --metrics ndgc@5", 1, "did you mean 'ndcg"),
        ("train --data {events} --out {out} --metrics ndcg", 1, "ndcg"),
        ("train --data {events} --out {out} --split by-hand", 2, "by-hand"),
        ("train --data {events} --out {out} --device quantum", 1, "quantum"),
        ("train --data {events} --out {out} --user nobody", 1, "there is no column 'nobody'"),
        ("train --data {events} --out {out} --min-value 99", 1, "no event is left"),
        ("train --data {out}/none.csv --out {out}", 1, "no such file"),
        ("train --data movielens-7 --out {out}", 1, "movielens-100k"),
        ("train --data movielens-100k --user who --out {out}", 1, "its columns and tables"),
        ("evaluate --data {events} --split none", 2, "nothing to evaluate"),
        ("data fetch movielens-7", 1, "movielens-100k"),
        ("recommend --release {out}/none --user 1", 1, "none"),
        ("recommend --release {store}", 2, "just one of"),
        ("recommend --release {store} --user u1 --history p1", 2, "just one of"),
        ("recommend --release {store} --all", 2, "go together"),
        ("recommend --release {store} --all --out {out}/x.xlsx", 2, ".parquet or .csv or .jsonl"),
        ("recommend --release {store} --all --out {out}/no/x.csv", 1, "there is no folder"),
        ("recommend --release {store} --user u1 -k 0", 2, "-k"),
        ("recommend --release {store} --history nothing", 1, "'nothing'"),
        ("similar --release {store} --item nothing", 1, "'nothing'"),
        ("serve --release {out}/none --state {out}/state", 1, "none"),
        ("serve --release {store} --state {out}/s --precomputed {out}/no.parq", 1, "no.parq"),
        ("releases list --release {out}/none", 1, "does not exist"),
        ("releases rollback --release {store} --to 1999", 1, "holds no release '1999'"),
        ("releases prune --release {store} --keep 0", 2, "--keep"),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_clear_message(
    tastemap: Command,
    shop: Path,
    store: Path,
    tmp_path: Path,
    arguments: str,
    code: int,
    message: str,
) -> None:
    places = {"events": shop / "events.csv", "store": store, "out": tmp_path}
    words = [word.format(**places) for word in arguments.split()]
    if words[0] in ("train", "evaluate"):
        words += ["--model", "itemknn"]
    ran = tastemap(*words)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    if code == 1:
        assert sum(line.startswith("error: ") for line in ran.err.splitlines()) == 1


def test_a_generated_world_is_trained_on(tastemap: Command, tmp_path: Path) -> None:
    world = tmp_path / "world"
    sizes = ["--users", "200", "--items", "50", "--events", "4000"]
    made = tastemap("data", "generate", *sizes, "--out", world, "--json")
    assert made.json == {"path": str(world), "users": 200, "items": 50, "events": 4000}
    trained = tastemap(
        "train", "--data", world / "events.parquet", "--items", world / "items.parquet",
        "--users", world / "users.parquet", "--model", "ease", "--out", tmp_path / "out",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    again = tastemap("data", "generate", *sizes, "--out", world)
    assert again.code != 0 and "exists already" in again.err
    assert "--overwrite" in again.err and "overwrite=True" not in again.err


def test_a_file_is_no_place_for_releases(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(ReleaseError, match=r"is a file, .* Choose another --out"):
        make_place(tmp_path / "demo")
