"""Business rules from the command line: trained with, checked, applied without training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ran import Command

import tastemap as tm

RULES = """
[rules.no-tea]
kind = "deny"
column = "title"
values = ["tea no. 0", "tea no. 1"]

[rules.first]
kind = "pin"
item = "p20"
when = { "context.page" = "coffee" }
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_check_says_what_each_rule_would_change(
    tastemap: Command, store: Path, rules: Path
) -> None:
    asked = ["rules", "check", rules, "--release", store]
    ran = tastemap(*asked, "--context", "page=coffee", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["users"] == 61
    denied, pinned, together = ran.json["rules"]
    assert (denied["rule"], denied["kind"], denied["barred"]) == ("no-tea", "deny", 2.0)
    assert 0 < denied["changed"] <= denied["replaced"] <= 2 * 61
    assert pinned["barred"] == 0
    assert pinned["changed"] > 30
    assert together["rule"] == "all together"
    assert together["changed"] >= max(denied["changed"], pinned["changed"])
    shown = tastemap(*asked)
    assert "no-tea" in shown.out
    assert tm.load(store).rules == {}, "the release is what it was"


def test_rules_are_applied_without_training(
    tastemap: Command, store: Path, rules: Path, tmp_path: Path
) -> None:
    own = tmp_path / "store"
    shutil.copytree(store, own)
    ran = tastemap("rules", "apply", rules, "--release", own)
    assert ran.code == 0, ran.err
    assert list(tm.load(own).rules) == ["no-tea", "first"]
    ran = tastemap("recommend", "--release", own, "--user", "u0", "--user", "x", "-k", 30, "--json")
    for answer in ran.json["answers"]:
        items = {item["item"] for item in answer["items"]}
        assert len(items) >= 18
        assert not items & {"p0", "p1"}
    assert tm.ReleaseStore(own).current().notes.endswith("with 2 rules of rules.toml")
    rules.write_text("")
    assert tastemap("rules", "apply", rules, "--release", own).code == 0
    assert not tm.load(own).rules


def test_a_recipe_and_a_file_give_rules(
    tastemap: Command, shop: Path, rules: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "knn.toml"
    recipe.write_text('model = "itemknn"\n[rules.tea]\nkind = "deny"\nitems = ["p2"]\n')
    train = ["train", "--data", shop / "events.csv", "--items", shop / "products.csv"]
    train += ["--recipe", recipe, "--no-evaluate", "--out", tmp_path / "out"]
    ran = tastemap(*train, "--rules", rules)
    assert ran.code == 0, ran.err
    assert list(tm.load(tmp_path / "out").rules) == ["tea", "no-tea", "first"]
    ran = tastemap(*train, "--rules", recipe)
    assert ran.code == 1
    assert "a file of rules has no 'model'" in ran.err
    rules.write_text('[rules.tea]\nkind = "availability"')
    ran = tastemap(*train, "--rules", rules)
    assert "rules.tea: there are two rules of this name" in ran.err


def test_rules_that_do_not_fit_stop_before_training(
    tastemap: Command, shop: Path, store: Path, rules: Path, tmp_path: Path
) -> None:
    rules.write_text(RULES.replace("title", "titel"))
    train = ["train", "--data", shop / "events.csv", "--items", shop / "products.csv"]
    ran = tastemap(*train, "--rules", rules, "--out", tmp_path / "out")
    assert ran.code == 1
    assert (
        "rules.no-tea.column: the item table has no column 'titel'; did you mean 'title'?"
        in ran.err
    )
    assert not (tmp_path / "out").exists()
    ran = tastemap("rules", "check", rules, "--release", store)
    assert ran.code == 1
    assert "did you mean 'title'?" in ran.err
