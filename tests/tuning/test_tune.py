"""Searches by real models on little data: what they find, keep, refuse and survive."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.errors import ParameterError
from tastemap.tuning.importance import LEAST_TRIALS

QUIET = tm.Run(device="cpu", progress=False)
BPR: dict[str, Any] = {"loss": "bpr", "factors": 4}


def tune(model: type[Any], split: tm.splits.Split, **how: Any) -> tm.Study:
    return tm.tune(model, split, run=QUIET, **{"metric": "ndcg@5", **how})


def without_times(study: tm.Study) -> pl.DataFrame:
    return study.frame().drop("seconds")


def test_values_are_those_of_the_validation_part(split: tm.splits.Split) -> None:
    study = tune(tm.ItemKNN, split, trials=5)
    for trial in study.trials:
        assert trial.measured is not None
        model = tm.ItemKNN(**trial.settings).fit(split.train)
        report = tm.evaluate(model, split, "ndcg@5", part="validation")
        assert trial.measured.validation == pytest.approx(report["ndcg@5"])
    # The defaults come first, and the best is what the recipe makes.
    first = study.trials[0].settings
    assert first == {n: tm.ItemKNN().hyperparameter_values()[n] for n in first}
    best = max(t.measured.validation for t in study.trials if t.measured)
    assert study.value == pytest.approx(best)
    again = study.recipe().make().fit(split.train)
    assert tm.evaluate(again, split, "ndcg@5", part="validation")["ndcg@5"] == pytest.approx(best)


def test_the_same_seed_gives_the_same_search(split: tm.splits.Split) -> None:
    how: dict[str, Any] = {"trials": 14, "fixed": {"factors": 4, "iterations": 2}}
    first, second = (tune(tm.ALS, split, depths=[], **how) for _ in range(2))
    assert without_times(first).equals(without_times(second))
    other = tune(tm.ALS, split, depths=[], seed=1, **how)
    assert not without_times(other).equals(without_times(first))
    assert first.importance.keys() == first.space.keys()
    assert sum(first.importance.values()) == pytest.approx(1)
    assert LEAST_TRIALS <= 14


def test_hopeless_trials_are_pruned_and_early_stopping_says_how_many_epochs(
    split: tm.splits.Split,
) -> None:
    study = tune(
        tm.MatrixFactorization,
        split,
        trials=16,
        metric="ndcg@10",
        space={"learning_rate": [0.1, 1e-6], "regularization": (0.01, 0.02)},
        fixed={**BPR, "epochs": 30},
        depths=[],
        seeds=2,
    )
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    for trial in pruned:
        epochs_done = len(trial.course)
        assert 3 <= epochs_done < 30
        before = [t.course for t in study.trials[: trial.number] if t.measured]
        there = [course[epochs_done - 1] for course in before if len(course) >= epochs_done]
        assert len(before) >= 5 and max(trial.course) < np.median(there)
    assert study.best["learning_rate"] in (0.1, None)
    best = study.best_trial.measured
    assert best is not None and best.epochs is not None
    epochs = {check.name: check.settings["epochs"] for check in study.checks}
    assert epochs["best"] == best.epochs
    # The values that count are those of fits that did not see the validation part.
    chosen = study.chosen
    assert chosen is not None and len(chosen.measured) == 2 and chosen.deviation is not None
    for seed, measured in enumerate(chosen.measured):
        model = tm.MatrixFactorization(**{**chosen.settings, "seed": seed}).fit(split.train)
        report = tm.evaluate(model, split, "ndcg@10", part="validation")
        assert measured.validation == pytest.approx(report["ndcg@10"])


def test_lower_is_better_for_errors(split: tm.splits.Split) -> None:
    study = tune(
        tm.MatrixFactorization,
        split,
        trials=4,
        metric="rmse",
        space={"regularization": [0.01, 30.0]},
        fixed={"loss": "mse", "epochs": 5, "factors": 4},
        depths=[],
    )
    values = [trial.measured.validation for trial in study.trials if trial.measured]
    assert study.best_trial.measured is not None
    assert study.best_trial.measured.validation == min(values)
    chosen = study.chosen
    assert chosen is not None
    assert chosen.value == min(check.value for check in study.checks if check is chosen)


def test_the_curve_over_the_depth_overfits(split: tm.splits.Split) -> None:
    study = tune(
        tm.ALS,
        split,
        trials=2,
        fixed={"regularization": 1e-3, "unobserved_weight": 0.01, "iterations": 10},
        space={"factors": (1, 4)},
        depths=[1, 2, 32],
    )
    assert study.depth_field == "factors"
    train = [study.depths[depth].training for depth in (1, 2, 32)]
    validation = [study.depths[depth].validation for depth in (1, 2, 32)]
    assert train == sorted(train) and train[2] > 0.9
    assert validation[1] > validation[2]
    # Where nothing is left out, what was learned by heart is found again.
    model = tm.ALS(**{**study.best, "factors": 32}).fit(split.train)
    queries = split.train.queries()
    seen = tm.Holdout(queries, queries.histories)
    found = tm.evaluate(model, seen, "ndcg@5", exclude_seen=False)["ndcg@5"]
    assert train[2] == pytest.approx(found)
    # What lies beyond the range that was asked for is shown and not chosen.
    assert study.best["factors"] <= 4


def test_a_longer_vector_that_the_curve_shows_to_be_better_is_taken(
    split: tm.splits.Split,
) -> None:
    study = tune(
        tm.ALS, split, trials=1, space={"factors": (1, 64)}, fixed={"iterations": 3}, seed=2
    )
    found = study.best_trial.settings["factors"]
    assert {found, 2 ** round(np.log2(found) + 1)} <= set(study.depths)
    within = [measured.validation for depth, measured in study.depths.items() if depth <= 64]
    assert study.value == pytest.approx(max(within))
    assert study.depths[study.best["factors"]].validation == pytest.approx(study.value)


def test_a_folder_is_gone_on_with(split: tm.splits.Split, tmp_path: Path) -> None:
    how: dict[str, Any] = {"folder": tmp_path, "space": {"regularization": (1.0, 100.0)}}
    first = tune(tm.EASE, split, trials=3, **how)
    more = tune(tm.EASE, split, trials=6, **how)
    assert len(more.trials) == 6
    assert more.trials[:3] == first.trials
    values = [trial.settings["regularization"] for trial in more.trials]
    assert len(set(values)) == 6
    # All is there already, so nothing is trained.
    assert tune(tm.EASE, split, trials=6, **how).trials == more.trials
    with pytest.raises(ParameterError, match="holds another search: its metric is 'ndcg@5'"):
        tune(tm.EASE, split, trials=6, **{**how, "metric": "recall@5"})
    with pytest.raises(ParameterError, match="holds another search: its model is 'ease'"):
        tune(tm.ItemKNN, split, folder=tmp_path)
    anew = tune(tm.EASE, split, trials=2, **how, anew=True)
    assert len(anew.trials) == 2


def test_two_searches_do_not_share_a_folder(split: tm.splits.Split, tmp_path: Path) -> None:
    from tastemap.tuning.journal import locked

    with (
        locked(tmp_path),
        pytest.raises(ParameterError, match="another search is at work in this folder"),
    ):
        tune(tm.EASE, split, trials=1, folder=tmp_path)


def test_processes_find_the_same_values(split: tm.splits.Split, tmp_path: Path) -> None:
    fixed = {**BPR, "epochs": 4}
    study = tune(tm.MatrixFactorization, split, trials=4, jobs=2, fixed=fixed, depths=[2, 4])
    assert [trial.state for trial in study.trials] == ["measured"] * 4
    for trial in study.trials:
        model = tm.MatrixFactorization(**fixed, **trial.settings)
        model.fit(split.train, validation=split.validation)
        value = tm.evaluate(model, split, "ndcg@5", part="validation")["ndcg@5"]
        assert trial.measured is not None
        assert trial.measured.validation == pytest.approx(value)
    assert set(study.depths) == {2, 4}


def test_trials_that_cannot_be_trained_are_told(split: tm.splits.Split) -> None:
    # A step of this size has no end.
    space = {"learning_rate": [0.05, 1e30]}
    study = tune(
        tm.MatrixFactorization, split, trials=12, metric="rmse", space=space,
        fixed={"factors": 4, "epochs": 3, "loss": "mse"}, depths=[],
    )  # fmt: skip
    failed = [trial for trial in study.trials if trial.state == "failed"]
    assert failed and all(trial.settings["learning_rate"] == 1e30 for trial in failed)
    assert "diverged" in failed[0].problem
    assert study.best["learning_rate"] in (0.05, None)
    with pytest.raises(ParameterError, match=r"not one of 2 trials .* diverged"):
        tune(
            tm.MatrixFactorization, split, trials=2, metric="rmse",
            fixed={"learning_rate": 1e30, "loss": "mse", "epochs": 2},
        )  # fmt: skip


def test_time_is_kept(split: tm.splits.Split) -> None:
    # One trial that would take hours ends with its first epochs.
    fixed = {**BPR, "epochs": 1_000_000, "patience": 1_000_000}
    study = tune(tm.MatrixFactorization, split, trials=50, time_budget=1.0, fixed=fixed)
    assert study.trials[0].measured is not None
    assert len(study.trials) < 50
    assert study.seconds < 30


def test_a_model_without_hyper_parameters_is_measured(split: tm.splits.Split) -> None:
    study = tune(tm.Popularity, split, trials=20)
    assert study.space == {}
    assert len(study.trials) == 1
    assert study.best == tm.Popularity().hyperparameter_values()
    assert study.depth_field is None


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"trials": 0}, "trials must be above 0"),
        ({"time_budget": -1}, "time_budget must be above 0"),
        ({"jobs": 0}, "jobs must be above 0"),
        ({"metric": "arp@10"}, "neither more nor less"),
        ({"metric": "ndgc@10"}, "did you mean"),
        ({"fixed": {"factor": 3}}, "did you mean 'factors'"),
        ({"fixed": {"factors": 0}}, "factors must be >= 1"),
        ({"depths": [0]}, "factors must be >= 1"),
        ({"space": {"factors": (1, 2)}, "fixed": {"factors": 3}}, "both fixed and searched"),
    ],
)
def test_wrong_arguments(split: tm.splits.Split, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        tune(tm.ALS, split, **how)


def test_a_split_without_validation_is_refused(movies: tm.Dataset) -> None:
    made = tm.splits.RandomPerUser().split(movies)
    with pytest.raises(ParameterError, match=r"RandomPerUser\(validation=0.1\)"):
        tune(tm.EASE, made)
    with pytest.raises(ParameterError, match="EASE has no vectors"):
        tune(tm.EASE, made, depths=[8])


def test_the_frame_has_a_row_for_each_trial(split: tm.splits.Split) -> None:
    study = tune(tm.EASE, split, trials=3)
    frame = study.frame()
    of_trials = ["trial", "state", "value", "low", "high", "epochs", "seconds"]
    assert frame.columns == [*of_trials, *study.space, "problem"]
    assert "regularization" in study.space
    assert frame["trial"].to_list() == [0, 1, 2]
    assert (frame["low"] <= frame["value"]).all() and (frame["value"] <= frame["high"]).all()


def test_it_is_exported() -> None:
    assert list(inspect.signature(tm.tune).parameters)[:2] == ["model", "data"]
