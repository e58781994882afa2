"""Recipes: what is written comes back, what is wrong is named, and all of ours can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

import tastemap as tm
from tastemap.errors import DataError, ParameterError

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    values = tm.ALS(factors=16, use_values=None).hyperparameter_values()
    found = {"data": 'a "log"', "value": 0.25, "trials": 3}
    rules = {"stock": {"kind": "availability", "column": "in_stock"}}
    written = tm.Recipe("als", values, found, "how it was\nfound", rules)
    path = written.write(tmp_path / "new" / "als.toml")
    read = tm.Recipe.read(path)
    assert read.comment == "how it was found"
    assert read.found == found
    assert read.rules == rules
    model = read.make()
    assert isinstance(model, tm.ALS)
    assert model.hyperparameter_values() == values
    changed = read.make(factors="32", use_values="true").hyperparameter_values()
    assert changed == {**values, "factors": 32, "use_values": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "als', "this is not TOML"),
        ("[hyperparameters]\nfactors = 3", 'says of which model it is. Write model = "als"'),
        ('model = "alz"', r"no model 'alz'; did you mean 'als'"),
        ('model = "als"\n[hyperparameters]\nfactor = 3', "did you mean 'factors'"),
        ('model = "als"\n[hyperparameters]\nfactors = 0', "factors must be >= 1"),
        ('model = "als"\n[hyperparameters]\nfactors = "none"', "factors must be a whole number"),
        ('model = "als"\nfactors = 3', "a recipe has no 'factors'"),
        ('model = "als"\nhyperparameters = 3', "hyperparameters must be a table"),
        ('model = "als"\nrules = 3', "rules must be a table"),
        ("\xff", "this is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises((DataError, ParameterError), match=message) as caught:
        tm.Recipe.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.toml: there is no such file"):
        tm.Recipe.read(tmp_path / "nowhere.toml")
    with pytest.raises(DataError, match="this is a directory, not a recipe"):
        tm.Recipe.read(tmp_path)


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_recipes_can_be_made(path: Path) -> None:
    recipe = tm.Recipe.read(path)
    assert recipe.make().name == recipe.model == path.stem
    assert recipe.comment, "the first line says how it was found"
    assert {"data", "split", "metric", "value"} <= set(recipe.found)
