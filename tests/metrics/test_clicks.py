"""Metrics of clicks against scikit-learn, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from tastemap.errors import ParameterError
from tastemap.metrics import calibration_error, click_auc, click_gauc, log_loss, reliability

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 500)
# Many ties.
SCORES = np.round(LABELS * 0.3 + RNG.random(500), 1) / 2
USERS = RNG.choice(["a", "b", "c", "d", "e"], 500)


def test_as_in_scikit_learn() -> None:
    assert click_auc(SCORES, LABELS) == pytest.approx(roc_auc_score(LABELS, SCORES), abs=1e-12)
    p = np.clip(SCORES, 0, 1)
    assert log_loss(p, LABELS) == pytest.approx(sklearn_log_loss(LABELS, p), abs=1e-9)


def test_groups_count_by_their_rows_where_they_have_both_labels() -> None:
    labels = np.where(USERS == "c", 1, LABELS)
    values = [(user == USERS).nonzero()[0] for user in "abde"]
    expected = sum(len(rows) * roc_auc_score(labels[rows], SCORES[rows]) for rows in values)
    expected /= sum(len(rows) for rows in values)
    assert click_gauc(SCORES, labels, USERS) == pytest.approx(expected, abs=1e-12)


def test_labels_alike_have_no_order() -> None:
    assert np.isnan(click_auc(SCORES, np.ones(500, int)))
    assert np.isnan(click_gauc(SCORES, np.ones(500, int), USERS))


def test_bins_say_how_far_probabilities_are_from_shares_of_clicks() -> None:
    p = np.array([0.0, 0.1, 0.2, 0.6, 1.0, 1.0])
    labels = np.array([0, 0, 1, 1, 1, 0])
    counts, foretold, clicked = reliability(p, labels, bins=4)
    assert counts.tolist() == [3, 0, 1, 2]
    np.testing.assert_allclose(foretold, [0.1, np.nan, 0.6, 1.0])
    np.testing.assert_allclose(clicked, [1 / 3, np.nan, 1.0, 0.5])
    expected = (3 * abs(0.1 - 1 / 3) + 1 * 0.4 + 2 * 0.5) / 6
    assert calibration_error(p, labels, bins=4) == pytest.approx(expected)
    drawn = RNG.random(50_000)
    assert calibration_error(drawn, (RNG.random(50_000) < drawn).astype(int)) < 0.01
    with pytest.raises(ParameterError, match="between 0 and 1"):
        calibration_error(p + 1, labels)
    with pytest.raises(ParameterError, match="bins"):
        calibration_error(p, labels, bins=0)


def test_what_is_no_click_or_no_score_is_refused() -> None:
    with pytest.raises(ParameterError, match="one length"):
        click_auc(SCORES[:-1], LABELS)
    with pytest.raises(ParameterError, match="must be 0 or 1"):
        click_auc(SCORES, LABELS + 1)
    with pytest.raises(ParameterError, match="not finite"):
        click_auc(np.where(LABELS, np.nan, SCORES), LABELS)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        log_loss(SCORES + 1, LABELS)
    with pytest.raises(ParameterError, match="one a row"):
        click_gauc(SCORES, LABELS, USERS[:3])
