"""Blends of rankers: what they add up to, what a member does not see, and that they come back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit

import tastemap as tm
from tastemap.errors import ParameterError, SchemaError
from tastemap.hyperparameters import Hyperparameters

RUN = tm.Run(device="cpu", progress=False)
FM = {"dim": 4, "epochs": 6, "batch_size": 64, "learning_rate": 0.05, "regularization": 1e-3}
SAID = ", ".join(f"{name}={value}" for name, value in FM.items())
TWO = f"3 fm({SAID}) + lightgbm(trees=20, without=letter)"


def rows(n: int, seed: int) -> pl.DataFrame:
    """A click follows from a letter and a number; the letter has a history too."""
    rng = np.random.default_rng(seed)
    letter, number = rng.choice(list("abcd"), n), rng.normal(size=n)
    odds = np.where(letter < "c", 1.5, -1.5) + number + rng.normal(size=n)
    return pl.DataFrame(
        {
            "letter": letter,
            "number": number,
            "last letters": [rng.choice(list("abcd"), 3).tolist() for _ in range(n)],
            "request": np.arange(n) // 5,
            "click": odds > 0,
        }
    )


KINDS = {"last letters": "sequence of letter", "request": "ignored"}
TRAIN, HELD, TEST = rows(600, 1), rows(200, 2), rows(100, 3)


def fitted(ranker: Any, *without: str, **more: Any) -> Any:
    train, held = TRAIN.drop(without), HELD.drop(without)
    kinds = {name: kind for name, kind in KINDS.items() if name in train.columns}
    return ranker.fit_frame(train, validation=held, kinds=kinds, run=RUN, **more)


@pytest.mark.parametrize("refit", [False, True])
def test_log_odds_are_the_weighted_mean_of_those_of_the_members(refit: bool) -> None:
    blend = fitted(tm.BlendRanker(models=TWO, refit=refit)).predict_frame(TEST)
    fm = fitted(tm.FM(**FM, refit=refit)).predict_frame(TEST)
    # A history of letters tells of letters.
    trees = fitted(tm.LightGBMRanker(trees=20, refit=refit), "letter", "last letters")
    odds = (3 * logit(fm) + logit(trees.predict_frame(TEST))) / 4
    np.testing.assert_allclose(blend, expit(odds), atol=1e-6)


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    blend = fitted(tm.BlendRanker(models=TWO, seed=3, calibration="platt"))
    blend.save(tmp_path / "ranker")
    loaded = tm.load(tmp_path / "ranker")
    assert loaded.hyperparameter_values() == blend.hyperparameter_values()
    assert loaded.members[1].schema.names == ("number",)
    np.testing.assert_array_equal(loaded.predict_frame(TEST), blend.predict_frame(TEST))


def test_members_take_seed_and_objective_of_the_blend() -> None:
    models = f"fm({SAID}) + fm({SAID}, seed=9)"
    blend = tm.BlendRanker(models=models, objective="listwise", calibration="platt", seed=5)
    first, second = (member.hyperparameter_values() for member in blend.members)
    assert (first["seed"], second["seed"]) == (5, 9)
    assert first["objective"] == second["objective"] == "listwise"
    answers = fitted(blend, group="request").predict_frame(TEST)
    assert tm.metrics.click_auc(answers, TEST["click"].to_numpy()) > 0.8


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "BlendRanker: '' is not a member"),
        ("als", "no ranker 'als'"),
        ("fm(dim=0)", "dim"),
        ("fm(refit=true)", r"refit of 'fm' is the blend's: .*refit=…"),
        ("fm + lightgbm(objective=listwise)", "objective of 'lightgbm' is the blend's"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, what: str) -> None:
    with pytest.raises(ParameterError, match=what):
        tm.BlendRanker(models=text)


def test_features_to_do_without_have_to_be_there() -> None:
    with pytest.raises(SchemaError, match=r"no feature 'leter' .*did you mean 'letter'"):
        fitted(tm.BlendRanker(models="fm + fm(without=leter)"))
    with pytest.raises(SchemaError, match="at least one"):
        fitted(tm.BlendRanker(models="fm(without=letter|number)"))


def test_each_member_has_a_run_folder_of_its_own(tmp_path: Path) -> None:
    run = tm.Run(folder=tmp_path, device="cpu", progress=False)
    models = f"fm({SAID}) + fm({SAID}, without=number)"
    tm.BlendRanker(models=models).fit_frame(TRAIN, kinds=KINDS, run=run)
    assert (tmp_path / "0-fm" / "metrics.jsonl").exists()
    about = tomllib.loads((tmp_path / "1-fm" / "run.toml").read_text())
    seen = [feature["name"] for feature in about["data"]["features"]]
    assert seen == ["letter", "last letters"]


def test_what_a_member_needs_is_asked_for_before_it_is_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Hyperparameters] = []
    monkeypatch.setattr(tm.LightGBMRanker, "check_installed", lambda self: asked.append(self))
    blend = tm.BlendRanker(models=TWO)
    blend.check_installed()
    assert asked == [blend.members[1]]
