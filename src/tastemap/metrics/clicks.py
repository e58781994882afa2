"""How good probabilities of clicks are: their order, overall and within groups, and their size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError

__all__ = ["click_auc", "click_gauc", "log_loss"]


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
    p, labels = _checked(probabilities, labels)
    if p.min() < 0 or p.max() > 1:
        raise ParameterError("log_loss: probabilities must be between 0 and 1")
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


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
