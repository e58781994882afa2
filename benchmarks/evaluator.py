"""The one evaluator: everybody's lists and predictions are judged here and nowhere else."""

import numpy as np
from scipy import sparse

DEPTH = 100


def judge_lists(lists: np.ndarray, train: sparse.csr_matrix, test: sparse.csr_matrix) -> dict:
    """Recall@20, NDCG@10 and NDCG@100 of `lists`, int [users, DEPTH], -1 where a list ends early.

    The catalogue is ranked whole. Recall is divided by all of a user's test items; the ideal
    list of NDCG@k holds as many of them as fit. Means over the users who have test items.
    """
    _check(lists, train)
    held = test.astype(bool)
    users = np.arange(len(lists))[:, None]
    hits = np.asarray(held[users, np.maximum(lists, 0)].todense()) & (lists >= 0)
    counts = np.diff(test.indptr)
    judged = counts > 0
    hits, counts = hits[judged], counts[judged]
    return {
        "recall@20": float((hits[:, :20].sum(1) / counts).mean()),
        "ndcg@10": float(_ndcg(hits, counts, 10).mean()),
        "ndcg@100": float(_ndcg(hits, counts, 100).mean()),
    }


def judge_ratings(predicted: np.ndarray, true: np.ndarray) -> dict:
    """RMSE and MAE of `predicted`, float [n]."""
    if predicted.shape != true.shape or not np.isfinite(predicted).all():
        raise ValueError(f"wanted {len(true)} finite predictions, got {predicted.shape}")
    error = predicted.astype(np.float64) - true
    return {"rmse": float(np.sqrt((error**2).mean())), "mae": float(np.abs(error).mean())}


def _ndcg(hits: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    discount = 1 / np.log2(np.arange(2, k + 2))
    return hits[:, :k] @ discount / np.cumsum(discount)[np.minimum(counts, k) - 1]


def _check(lists: np.ndarray, train: sparse.csr_matrix) -> None:
    n_users, n_items = train.shape
    if lists.shape != (n_users, DEPTH):
        raise ValueError(f"wanted lists of shape {(n_users, DEPTH)}, got {lists.shape}")
    if lists.min() < -1 or lists.max() >= n_items:
        raise ValueError("a list names an item that does not exist")
    users = np.repeat(np.arange(n_users), DEPTH)[lists.ravel() >= 0]
    items = lists.ravel()[lists.ravel() >= 0]
    pairs = sparse.csr_matrix((np.ones(len(items)), (users, items)), shape=train.shape)
    if pairs.nnz and pairs.data.max() > 1:
        raise ValueError("a list names an item twice")
    if pairs.multiply(train).nnz:
        raise ValueError("a list names an item of the user's own training history")
