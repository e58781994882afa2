"""The benchmarks' evaluator against a calculation item by item, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from benchmarks.evaluator import DEPTH, judge_lists, judge_ratings

RNG = np.random.default_rng(0)
SHAPE = (7, 300)


def matrix(per_user: int, first: int) -> sparse.csr_matrix:
    """Each user has `per_user` items from `first` on, so that two of these can be kept apart."""
    rows = np.repeat(np.arange(SHAPE[0]), per_user)
    columns = np.concatenate([first + RNG.permutation(100)[:per_user] for _ in range(SHAPE[0])])
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=SHAPE)


TRAIN, TEST = matrix(20, 0), matrix(30, 100)
LISTS = np.array([100 + RNG.permutation(200)[:DEPTH] for _ in range(SHAPE[0])])


def ndcg(found: list[int], wanted: set[int], k: int) -> float:
    gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(found[:k]) if item in wanted)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))


def test_figures_are_those_of_a_calculation_by_hand() -> None:
    lists = LISTS.copy()
    lists[2, 50:] = -1
    test = TEST.tolil()
    test[3] = 0
    test = test.tocsr()
    users = [user for user in range(SHAPE[0]) if user != 3]
    wanted = {user: set(test[user].indices.tolist()) for user in users}
    found = {user: lists[user].tolist() for user in users}
    judged = judge_lists(lists, TRAIN, test)
    recall = [len(wanted[u] & set(found[u][:20])) / len(wanted[u]) for u in users]
    assert judged["recall@20"] == pytest.approx(np.mean(recall))
    for k in (10, 100):
        expected = np.mean([ndcg(found[u], wanted[u], k) for u in users])
        assert judged[f"ndcg@{k}"] == pytest.approx(expected)
    assert 0 < judged["ndcg@10"] < 1


@pytest.mark.parametrize(
    ("place", "item", "complaint"),
    [
        ((0, 3), 300, "does not exist"),
        ((0, 3), -2, "does not exist"),
        ((4, 1), int(LISTS[4, 0]), "twice"),
        ((6, 0), int(TRAIN[6].indices[0]), "own training history"),
    ],
)
def test_a_list_that_cheats_is_refused(place: tuple[int, int], item: int, complaint: str) -> None:
    lists = LISTS.copy()
    lists[place] = item
    with pytest.raises(ValueError, match=complaint):
        judge_lists(lists, TRAIN, TEST)


def test_ratings() -> None:
    judged = judge_ratings(np.array([1.0, 5.0, 3.0]), np.array([2.0, 5.0, 1.0]))
    assert judged == pytest.approx({"rmse": math.sqrt(5 / 3), "mae": 1.0})
