"""Accuracy of lists: by hand, against ranx and scikit-learn, and by law."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
import ranx
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score, roc_auc_score

from tastemap import metrics
from tastemap.errors import ParameterError

Case = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]
OF_HITS = ["hit_rate", "precision", "recall", "ndcg", "map", "mrr"]
RANX_NAMES = {"map": "map", "mrr": "mrr", "ndcg": "ndcg", "hit_rate": "hit_rate"}


def ragged(rows: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    offsets = np.cumsum([0, *map(len, rows)])
    return offsets, np.array([item for row in rows for item in row], np.int32)


def value(name: str, recommended: list[int], relevant: list[int], k: int) -> float:
    hits, n_relevant = metrics.judge(np.array([recommended], np.int32), *ragged([relevant]))
    return float(getattr(metrics, name)(hits, n_relevant, k)[0])


@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("hit_rate", 1, 0.0),
        ("hit_rate", 2, 1.0),
        ("precision", 2, 1 / 2),
        ("precision", 4, 2 / 4),
        ("precision", 8, 2 / 8),
        ("recall", 2, 1 / 3),
        ("recall", 4, 2 / 3),
        ("map", 4, (1 / 2 + 2 / 4) / 3),
        ("map", 2, (1 / 2) / 3),
        ("mrr", 4, 1 / 2),
        ("mrr", 1, 0.0),
        ("ndcg", 4, (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))),
        ("ndcg", 2, (1 / log2(3)) / (1 + 1 / log2(3))),
        ("ndcg", 8, (1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3) + 1 / log2(4))),
    ],
)
def test_by_hand(name: str, k: int, expected: float) -> None:
    # Hits at ranks 2 and 4; three items are relevant, one of them is not in the list.
    assert value(name, [9, 3, 8, 5], [5, 3, 7], k) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("name", OF_HITS)
def test_a_list_of_just_the_relevant_items_is_perfect(name: str) -> None:
    assert value(name, [2, 1, 3], [1, 2, 3], 3) == pytest.approx(1.0)


@pytest.mark.parametrize("name", OF_HITS)
def test_nothing_relevant_has_no_value(name: str) -> None:
    assert np.isnan(value(name, [1, 2], [], 2))


@pytest.mark.parametrize("name", OF_HITS)
def test_an_empty_list_is_worth_nothing(name: str) -> None:
    assert value(name, [], [1, 2], 2) == 0.0
    assert value(name, [0, 0], [1, 2], 2) == 0.0


def test_padding_is_never_a_hit_and_unknown_truth_still_counts() -> None:
    hits, n_relevant = metrics.judge(np.array([[0, 4, 0]], np.int32), *ragged([[0, 4, 0]]))
    assert hits.tolist() == [[False, True, False]]
    assert n_relevant.tolist() == [3]


def test_repetitions_count_once() -> None:
    hits, n_relevant = metrics.judge(np.array([[4, 4, 5]], np.int32), *ragged([[5, 4, 5]]))
    assert hits.tolist() == [[True, False, True]]
    assert n_relevant.tolist() == [2]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n, n_items = draw(st.integers(1, 8)), draw(st.integers(4, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(1, n_items))
    recommended = np.stack([rng.permutation(n_items)[:k] + 1 for _ in range(n)]).astype(np.int32)
    truth = [(rng.permutation(n_items)[: rng.integers(1, n_items)] + 1).tolist() for _ in range(n)]
    return recommended, *ragged(truth)


@settings(deadline=None, max_examples=60)
@given(cases(), st.integers(1, 40))
def test_laws(case: Case, k: int) -> None:
    recommended, offsets, relevant = case
    hits, n_relevant = metrics.judge(*case)
    at_k = {name: getattr(metrics, name)(hits, n_relevant, k) for name in OF_HITS}
    more = {name: getattr(metrics, name)(hits, n_relevant, k + 1) for name in OF_HITS}
    for name in OF_HITS:
        assert (at_k[name] >= 0).all() and (at_k[name] <= 1 + 1e-12).all(), name
    for name in ("hit_rate", "recall", "map", "mrr"):
        assert (more[name] >= at_k[name] - 1e-12).all(), name
    # What is at rank one is worth at least as much as anything further down.
    assert (at_k["mrr"] <= at_k["hit_rate"]).all()
    order = np.random.default_rng(k).permutation(len(recommended))
    shuffled = ragged([relevant[offsets[u] : offsets[u + 1]].tolist()[::-1] for u in order])
    again = metrics.judge(recommended[order], *shuffled)
    for name in OF_HITS:
        assert (getattr(metrics, name)(*again, k) == at_k[name][order]).all(), name


@pytest.fixture(scope="module")
def lists() -> Case:
    rng = np.random.default_rng(3)
    n, n_items, k = 80, 120, 30
    recommended = np.stack([rng.permutation(n_items)[:k] + 1 for _ in range(n)]).astype(np.int32)
    truth = [(rng.permutation(n_items)[: rng.integers(1, 60)] + 1).tolist() for _ in range(n)]
    return recommended, *ragged(truth)


@pytest.mark.parametrize("name", OF_HITS)
def test_agrees_with_ranx(lists: Case, name: str) -> None:
    recommended, offsets, relevant = lists
    n, length = recommended.shape
    qrels = ranx.Qrels(
        {f"u{u:03}": {f"i{i}": 1 for i in relevant[offsets[u] : offsets[u + 1]]} for u in range(n)}
    )
    run = ranx.Run(
        {
            f"u{u:03}": {f"i{i}": float(length - rank) for rank, i in enumerate(recommended[u])}
            for u in range(n)
        }
    )
    hits, n_relevant = metrics.judge(*lists)
    for k in (1, 5, 20, 30):
        theirs = ranx.evaluate(qrels, run, f"{name}@{k}", return_mean=False)
        ours = getattr(metrics, name)(hits, n_relevant, k)
        np.testing.assert_allclose(ours, theirs, atol=1e-12, err_msg=f"{name}@{k}")


def test_ndcg_agrees_with_scikit_learn(lists: Case) -> None:
    recommended, offsets, relevant = lists
    hits, n_relevant = metrics.judge(*lists)
    ours = metrics.ndcg(hits, n_relevant, 10)
    for user in range(len(recommended)):
        truth, scores = np.zeros(121), np.zeros(121)
        truth[relevant[offsets[user] : offsets[user + 1]]] = 1
        scores[recommended[user]] = np.arange(30, 0, -1)
        assert ours[user] == pytest.approx(ndcg_score([truth], [scores], k=10), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["normal", "few levels", "skewed", "constant", "huge"]),
    st.booleans(),
)
def test_auc_agrees_with_scikit_learn(seed: int, kind: str, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    n, n_items = 4, int(rng.integers(3, 60))
    scores = {
        "normal": lambda: rng.standard_normal((n, n_items + 1)),
        "few levels": lambda: rng.integers(0, 4, (n, n_items + 1)),
        "skewed": lambda: rng.pareto(0.3, (n, n_items + 1)),
        "constant": lambda: np.full((n, n_items + 1), 2.5),
        "huge": lambda: rng.standard_normal((n, n_items + 1)) * 1e36,
    }[kind]().astype(np.float32)
    truth = [(rng.permutation(n_items)[: rng.integers(1, n_items)] + 1).tolist() for _ in range(n)]
    labels = np.zeros((n, n_items + 1))
    for user, items in enumerate(truth):
        labels[user, items] = 1
    if masked:  # only items that are not relevant, and never all of them
        for user in range(n):
            others = np.flatnonzero(labels[user] == 0)
            scores[user, others[others > 0][1:2]] = -np.inf
    ours = metrics.auc(scores, *ragged(truth))
    for user in range(n):
        candidates = np.flatnonzero(scores[user] > -np.inf)
        candidates = candidates[candidates > 0]
        theirs = roc_auc_score(labels[user, candidates], scores[user, candidates])
        assert ours[user] == pytest.approx(theirs, abs=1e-12)


def test_auc_by_hand() -> None:
    scores = np.array([[99, 5, 4, 4, 1, -np.inf]], np.float32)
    # Item 2 outscores 4 and ties with 3, of the three irrelevant items 1, 3 and 4.
    assert metrics.auc(scores, *ragged([[2]]))[0] == pytest.approx(1.5 / 3)
    # A relevant item that may not be recommended, or is unknown, outscores none.
    assert metrics.auc(scores, *ragged([[2, 5]]))[0] == pytest.approx((1.5 / 3 + 0) / 2)
    assert metrics.auc(scores, *ragged([[2, 0]]))[0] == pytest.approx((1.5 / 3 + 0) / 2)
    rates = metrics.win_rates(scores, *ragged([[2, 1, 2]]))
    np.testing.assert_array_equal(rates, [0.75, 1.0, np.nan])


def test_auc_is_undefined_without_relevant_or_irrelevant_items() -> None:
    scores = np.ones((2, 3), np.float32)
    assert np.isnan(metrics.auc(scores, *ragged([[], [1, 2]]))).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(ParameterError, match=r"scores\[1, 2\] is NaN"):
        metrics.auc(np.array([[0, 1, 2], [0, 1, np.nan]], np.float32), *ragged([[1], [1]]))
    with pytest.raises(ParameterError, match="item row 9 has no column"):
        metrics.auc(np.ones((1, 3), np.float32), *ragged([[9]]))
    with pytest.raises(ParameterError, match=r"offsets must have shape \(3,\)"):
        metrics.judge(np.ones((2, 3), np.int32), *ragged([[1]]))
    with pytest.raises(ParameterError, match="rise from 0"):
        metrics.judge(np.ones((1, 3), np.int32), np.array([0, 5]), np.array([1], np.int32))
    with pytest.raises(ParameterError, match="two dimensions"):
        metrics.judge(np.ones(3, np.int32), *ragged([[1]]))
    with pytest.raises(ParameterError, match="negative"):
        metrics.judge(np.ones((1, 3), np.int32), *ragged([[-4]]))
