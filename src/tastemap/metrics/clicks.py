"""How good probabilities of clicks are: their order, overall and within groups, and their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError

__all__ = ["calibration_error", "click_auc", "click_gauc", "log_loss", "reliability"]


def click_auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The share of pairs of a click and another row whose click has the higher score; equal scores
    count half.

    Args:
        scores: float [n].
        labels: [n], 1 for a click and 0 for none.

    Returns:
        From 0 to 1; NaN where all labels are alike.

    Raises:
        ParameterError: different shapes, no row, a score that is not finite, or another label.
    """
    return float(_group_aucs(*_checked(scores, labels), np.zeros(len(labels), np.int64))[0][0])


def click_gauc(scores: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any]) -> float:
    """The mean of the AUCs within groups, such as a user's rows, weighted by their numbers of rows,
    over the groups that have both labels (Zhu et al. 2017, "Optimized cost per click in Taobao
    display advertising", eq. 8, with rows for impressions).

    Args:
        scores, labels: as for `click_auc`.
        groups: [n], of any type that can be sorted.

    Returns:
        From 0 to 1; NaN where no group has both labels.

    Raises:
        ParameterError: as for `click_auc`.
    """
    scores, labels = _checked(scores, labels)
    of = np.unique(np.asarray(groups), return_inverse=True)[1]
    if of.shape != scores.shape:
        raise ParameterError(f"{len(scores)} rows have groups of shape {of.shape}; give one a row")
    aucs, sizes = _group_aucs(scores, labels, of)
    both = np.isfinite(aucs)
    return float(np.average(aucs[both], weights=sizes[both])) if both.any() else float("nan")


def log_loss(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """The mean of -ln p of clicks and -ln(1 - p) of other rows; p is kept 1e-15 away from 0 and 1.

    Args:
        probabilities: float [n], from 0 to 1.
        labels: [n], 1 for a click and 0 for none.

    Raises:
        ParameterError: as for `click_auc`, or a probability below 0 or above 1.
    """
    p, labels = _checked_probabilities("log_loss", probabilities, labels)
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def calibration_error(
    probabilities: NDArray[Any], labels: NDArray[Any], *, bins: int = 10
) -> float:
    """The expected calibration error: how far the mean probability of a bin is from its share of
    clicks, on average over rows (Naeini et al. 2015; Guo et al. 2017, "On calibration of modern
    neural networks", eq. 5, of the probability of a click).

    Args:
        probabilities: float [n], from 0 to 1.
        labels: [n], 1 for a click and 0 for none.
        bins: of equal width, ≥ 1.

    Returns:
        From 0, where each bin means what it says, to 1.

    Raises:
        ParameterError: as for `log_loss`, or no bins.
    """
    counts, foretold, clicked = reliability(probabilities, labels, bins=bins)
    some = counts > 0
    return float(np.average(np.abs(foretold - clicked)[some], weights=counts[some]))


def reliability(
    probabilities: NDArray[Any], labels: NDArray[Any], *, bins: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """What a reliability diagram shows of each bin.

    Args:
        probabilities, labels, bins: as for `calibration_error`.

    Returns:
        How many rows it has, int64 [bins], their mean probability and their share of clicks,
        float64 [bins], NaN where there are no rows.

    Raises:
        ParameterError: as for `calibration_error`.
    """
    p, labels = _checked_probabilities("calibration_error", probabilities, labels)
    if bins < 1:
        raise ParameterError(f"calibration_error: bins must be at least 1, got {bins}")
    of = np.minimum((p * bins).astype(np.int64), bins - 1)
    counts = np.bincount(of, minlength=bins)
    with np.errstate(invalid="ignore"):
        foretold = np.bincount(of, p, minlength=bins) / counts
        return counts, foretold, np.bincount(of, labels, minlength=bins) / counts


def _group_aucs(
    scores: NDArray[np.float64], labels: NDArray[np.int64], of: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The AUC of each group, NaN where its labels are alike, and its number of rows."""
    order = np.lexsort((scores, of))
    scores, labels, of = scores[order], labels[order], of[order]
    new_tie = np.ones(len(scores), bool)
    new_tie[1:] = (scores[1:] != scores[:-1]) | (of[1:] != of[:-1])
    tie = np.cumsum(new_tie) - 1
    # The mean place of the rows of a tie, from 1, within all rows.
    place = (np.bincount(tie, np.arange(1, len(scores) + 1)) / np.bincount(tie))[tie]
    sizes = np.bincount(of)
    before = np.cumsum(sizes) - sizes
    clicks = np.bincount(of, labels)
    others = sizes - clicks
    summed = np.bincount(of, (place - before[of]) * labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (summed - clicks * (clicks + 1) / 2) / (clicks * others), sizes


def _checked_probabilities(
    metric: str, probabilities: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p, labels = _checked(probabilities, labels)
    if p.min() < 0 or p.max() > 1:
        raise ParameterError(f"{metric}: probabilities must be between 0 and 1")
    return p, labels


def _checked(
    scores: NDArray[Any], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1 or len(scores) == 0:
        raise ParameterError(
            "scores and labels must be vectors of one length with at least one row, not "
            f"{scores.shape} and {labels.shape}"
        )
    if not np.isfinite(scores).all():
        place = int(np.argmin(np.isfinite(scores)))
        raise ParameterError(f"scores[{place}] is not finite: {scores[place]}")
    if not ((labels == 0) | (labels == 1)).all():
        raise ParameterError("labels must be 0 or 1")
    return scores, labels.astype(np.int64)
