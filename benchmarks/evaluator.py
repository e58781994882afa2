"""The one evaluator: everybody's lists and predictions are judged here and nowhere else."""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from tastemap import metrics

DEPTH = 100

Measures = dict[str, tuple[Callable[..., np.ndarray], int]]

METRICS: Measures = {
    "recall@20": (metrics.recall, 20),
    "ndcg@10": (metrics.ndcg, 10),
    "ndcg@100": (metrics.ndcg, 100),
}
# With one test item a user, the hit rate is the recall.
METRICS_OF_NEXT: Measures = {"ndcg@10": (metrics.ndcg, 10), "hr@10": (metrics.recall, 10)}


def judge_lists(
    lists: np.ndarray,
    train: sparse.csr_matrix,
    test: sparse.csr_matrix,
    measures: Measures = METRICS,
) -> dict[str, float]:
    """Means of `values_of_users` over the users who have test items."""
    found = values_of_users(lists, train, test, measures)
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def values_of_users(
    lists: np.ndarray,
    train: sparse.csr_matrix,
    test: sparse.csr_matrix,
    measures: Measures = METRICS,
) -> dict[str, np.ndarray]:
    """Some measures of `lists`, int [users, DEPTH], -1 where a list ends early.

    Recall is divided by all of a user's test items; the ideal list of NDCG@k holds as many of them
    as fit.

    Returns:
        By name float64 [users], NaN for a user without test items.

    Raises:
        ValueError: the lists hold an unknown, a repeated, or a seen item.
    """
    _check(lists, train)
    # The metrics count items from 1 and take 0 for padding.
    hits, counts = metrics.judge(lists + 1, test.indptr, test.indices + 1)
    return {name: metric(hits, counts, k) for name, (metric, k) in measures.items()}


def judge_ratings(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """RMSE and MAE of `predicted`, float [n]; a missing or infinite prediction is an error."""
    return {"rmse": metrics.rmse(predicted, true), "mae": metrics.mae(predicted, true)}


def _check(lists: np.ndarray, train: sparse.csr_matrix) -> None:
    n_users, n_items = train.shape
    if lists.shape != (n_users, DEPTH):
        raise ValueError(f"wanted lists of shape {(n_users, DEPTH)}, got {lists.shape}")
    if lists.min() < -1 or lists.max() >= n_items:
        raise ValueError("a list names an item that does not exist")
    users, places = np.nonzero(lists >= 0)
    named = np.zeros(train.shape, np.uint8)
    np.add.at(named, (users, lists[users, places]), 1)
    if named.max() > 1:
        raise ValueError("a list names an item twice")
    if named[train.nonzero()].any():
        raise ValueError("a list names an item of the user's own training history")


def judge_clicks(
    probabilities: np.ndarray, labels: np.ndarray, users: np.ndarray
) -> dict[str, float]:
    """AUC, the AUC within each user, and log-loss of probabilities, float [n]."""
    return {
        "auc": metrics.click_auc(probabilities, labels),
        "gauc": metrics.click_gauc(probabilities, labels, users),
        "log-loss": metrics.log_loss(probabilities, labels),
    }
