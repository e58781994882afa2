"""Scores made probabilities: as scikit-learn does it, near the truth, saved with a ranker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression as SklearnIsotonic

import tastemap as tm
from tastemap.errors import ParameterError
from tastemap.metrics import calibration_error, log_loss
from tastemap.ranking.calibration import CALIBRATIONS, IsotonicRegression, PlattScaling

RNG = np.random.default_rng(0)
# Scores that say three times too much, and too often "yes".
TRUTH = expit(RNG.normal(-1, 1.5, 20_000))
SCORES = 3 * np.log(TRUTH / (1 - TRUTH)) + 2
LABELS = (RNG.random(20_000) < TRUTH).astype(np.int8)
FIT, HELD = slice(0, 10_000), slice(10_000, None)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_probabilities_come_near_the_truth_and_keep_the_order(name: str) -> None:
    found = CALIBRATIONS[name]().fit(SCORES[FIT], LABELS[FIT])
    p = found.probabilities(SCORES[HELD])
    assert p.dtype == np.float64
    assert np.abs(p - TRUTH[HELD]).mean() < 0.015
    assert (
        calibration_error(p, LABELS[HELD])
        < 0.02
        < calibration_error(expit(SCORES[HELD]), LABELS[HELD])
    )
    assert (np.diff(p[np.argsort(SCORES[HELD])]) >= 0).all()
    extreme = found.probabilities(np.array([-1e3, 1e3]))
    assert log_loss(extreme, np.array([0, 1])) < 0.05
    again = CALIBRATIONS[name].restored(found.tensors())
    np.testing.assert_array_equal(
        again.probabilities(SCORES[:50]), found.probabilities(SCORES[:50])
    )


def test_platt_is_the_least_cross_entropy_with_his_targets() -> None:
    scores, labels = SCORES[:40] * 100, LABELS[:40]
    found = PlattScaling().fit(scores, labels)
    n, others = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (n + 1) / (n + 2), 1 / (others + 2))

    def loss(ab: np.ndarray) -> float:
        odds = ab[0] * scores + ab[1]
        return float((np.logaddexp(0, odds) - targets * odds).sum())

    best = minimize(loss, [found.a, found.b], method="Nelder-Mead").fun
    assert loss(np.array([found.a, found.b])) == pytest.approx(best, rel=1e-6)


def test_isotonic_is_as_in_scikit_learn() -> None:
    scores = np.round(SCORES[:300])  # many ties
    found = IsotonicRegression().fit(scores, LABELS[:300])
    theirs = SklearnIsotonic(out_of_bounds="clip").fit(
        [*scores, scores.min(), scores.max()], [*LABELS[:300], 1, 0]
    )
    asked = np.linspace(scores.min() - 1, scores.max() + 1, 500)
    np.testing.assert_allclose(found.probabilities(asked), theirs.predict(asked), atol=1e-12)
    p = found.probabilities(asked)
    assert 0 < p.min() < p.max() < 1


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_one_score_and_one_label_are_enough(name: str) -> None:
    for labels in ([1, 1, 1], [0, 1, 0]):
        p = CALIBRATIONS[name]().fit(np.zeros(3), np.array(labels)).probabilities(np.zeros(2))
        assert (p > 0).all() and (p < 1).all()
        assert (p > 0.5).all() == (sum(labels) > 1)


def rows(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pl.DataFrame(
        {
            "x": x,
            "request": rng.integers(0, n // 5, n),
            "click": (rng.random(n) < expit(x - 1)).astype(np.int8),
        }
    )


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_ranker_that_learned_an_order_gives_probabilities_and_keeps_them(
    name: str, tmp_path: Path
) -> None:
    train, held, test = rows(2000, 0), rows(2000, 1), rows(1000, 2)
    ranker = tm.LightGBMRanker(objective="pairwise", calibration=name, trees=20)  # type: ignore[arg-type]
    ranker.fit_frame(train, group="request", validation=held)
    p = ranker.predict_frame(test)
    assert calibration_error(p, test["click"].to_numpy()) < 0.06
    ranker.save(tmp_path / "ranker")
    np.testing.assert_array_equal(tm.load(tmp_path / "ranker").predict_frame(test), p)
    with pytest.raises(ParameterError, match="validation="):
        ranker.fit_frame(train, group="request")


def test_the_plot_is_written(tmp_path: Path) -> None:
    curves = {"raw": expit(SCORES), "truth": TRUTH}
    with pytest.raises(ParameterError, match=r"there is no folder .*nowhere. Make it first"):
        tm.reliability_plot(curves, LABELS, tmp_path / "nowhere" / "reliability.svg")
    path = tm.reliability_plot(curves, LABELS, tmp_path / "reliability.svg", bins=5)
    text = path.read_text()
    assert text.startswith("<?xml")
    assert len(text) > 5000
