"""What every index keeps to."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tastemap as tm
from tastemap.data.masks import constant
from tastemap.errors import (
    DataError,
    MissingExtraError,
    NotFittedError,
    ParameterError,
    ReleaseError,
)
from tastemap.index import Index
from tastemap.index.exact import ExactIndex
from tastemap.index.hnsw import HNSWIndex
from tastemap.index.ivf import IVFIndex, Lists
from tastemap.index.ivf_pq import IVFPQIndex
from tastemap.index.remote import RemoteIndex
from tests.index.vectors import clustered

N, DIM = 2000, 16
INDICES = [
    ExactIndex(),
    HNSWIndex(links=16, ef_construction=40, ef_search=100),
    IVFIndex(lists=30, probes=12),
    IVFPQIndex(lists=30, probes=12, candidates=200),
]
VECTORS, QUERIES = clustered(N, DIM)
ROWS = np.random.default_rng(1).permutation(2 * N)[:N] + 1  # not in order, with gaps


@pytest.fixture(params=[*INDICES, "milvus", "pgvector"], ids=lambda i: getattr(i, "name", i))
def empty(request: pytest.FixtureRequest) -> Iterator[Index]:
    if isinstance(request.param, str):
        index: RemoteIndex = request.getfixturevalue(f"in_{request.param}")
        yield index
        if len(index):
            index.drop()
    else:
        yield type(request.param)(**request.param.hyperparameter_values())


@pytest.fixture
def index(empty: Index) -> Index:
    return empty.build(ROWS, VECTORS, queries=QUERIES)


def true_rows(k: int, usable: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    products = QUERIES.astype(np.float64) @ VECTORS.T.astype(np.float64)
    if usable is not None:
        products[:, ~usable] = -np.inf
    return ROWS[np.argsort(-products, axis=1)[:, :k]]


def share_found(found: NDArray[np.int32], true: NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(*pair)) for pair in zip(found, true, strict=True)]
    return float(np.mean(hits)) / true.shape[1]


def test_the_nearest_are_found_and_scored(index: Index) -> None:
    found, scores = index.search(QUERIES, 20)
    assert found.dtype == np.int32 and scores.dtype == np.float32
    assert share_found(found, true_rows(20)) >= (1.0 if index.name == "exact" else 0.95)
    assert (np.diff(scores, axis=1) <= 0).all()
    vector_of = dict(zip(ROWS.tolist(), VECTORS, strict=True))
    for query, rows, products in zip(QUERIES, found, scores, strict=True):
        expected = [vector_of[row] @ query for row in rows.tolist()]
        # Vectors on disk have 11 bits.
        np.testing.assert_allclose(products, expected, rtol=2e-3, atol=2e-3)


def test_recall_is_measured_when_it_is_built(index: Index) -> None:
    recall = index.recall
    assert recall is not None and (recall.k, recall.queries) == (100, len(QUERIES))
    found, _ = index.search(QUERIES, 100)
    assert recall.value == pytest.approx(share_found(found, true_rows(100)), abs=1e-6)


def test_a_poor_index_says_so() -> None:
    poor = IVFIndex(lists=60, probes=1).build(ROWS, VECTORS, queries=QUERIES)
    assert poor.recall is not None and poor.recall.value < 0.8


def test_as_few_lists_as_find_enough_are_looked_at(tmp_path: Path) -> None:
    found = IVFIndex(lists=60, probes=60, enough=0.9).build(ROWS, VECTORS, queries=QUERIES)
    whole = IVFIndex(lists=60, probes=60, enough=None).build(ROWS, VECTORS, queries=QUERIES)
    assert found.recall is not None and 0.9 <= found.recall.value < 1
    assert whole.recall is not None and whole.recall.value == 1
    again = tm.load(found.save(tmp_path / "index"))
    for mine, theirs in zip(again.search(QUERIES, 10), found.search(QUERIES, 10), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    most = IVFIndex(lists=60, probes=2, enough=1.0).build(ROWS, VECTORS, queries=QUERIES)
    assert most.recall is not None and most.recall.value < 0.9


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_filters_never_leak_and_lose_little(index: Index, share: float) -> None:
    allowed = np.random.default_rng(2).random(2 * N + 1) < share
    found, _ = index.search(QUERIES, 10, allowed=allowed)
    assert allowed[found[found > 0]].all()
    assert share_found(found, true_rows(10, allowed[ROWS])) >= 0.95


def test_what_is_left_out_stays_out(index: Index) -> None:
    nearest = true_rows(30)
    seen = [rows[: 3 * (place % 4)].tolist() for place, rows in enumerate(nearest)]
    seen[3] = [0, 10 * N, *seen[3]]  # rows that are not in the index
    histories = tm.Histories.from_lists(seen)
    allowed = np.ones(2 * N + 1, np.bool_)
    allowed[nearest[:, 12]] = False
    for filtered in (None, allowed):
        found, _ = index.search(QUERIES, 10, excluded=histories, allowed=filtered)
        plain, _ = index.search(QUERIES, 40, allowed=filtered)
        for rows, left_out, without in zip(found, seen, plain, strict=True):
            assert not set(rows.tolist()) & set(left_out)
            wanted = without[~np.isin(without, left_out)][:10]
            assert len(np.intersect1d(rows, wanted)) >= 9


def test_removed_rows_never_come_back(index: Index, tmp_path: Path) -> None:
    gone = true_rows(15).ravel()
    index.remove(gone)
    index.remove([7 * N])  # was never there
    assert len(index) == N - len(np.unique(gone))
    left = ~np.isin(ROWS, gone)
    for here in (index, tm.load(index.save(tmp_path / "index"))):
        found, _ = here.search(QUERIES, 20)
        assert not np.isin(found, gone).any()
        assert share_found(found, true_rows(20, left)) >= 0.9


def test_added_rows_are_found(index: Index, tmp_path: Path) -> None:
    # Longer than all that was there, so each is the nearest of its own direction.
    added = QUERIES[:10] * 20
    index.add(np.arange(10_001, 10_011), added)
    for here in (index, tm.load(index.save(tmp_path / "index"))):
        assert len(here) == N + 10
        found, scores = here.search(QUERIES[:10], 3)
        best = (QUERIES[:10] @ added.T).argmax(axis=1) + 10_001
        assert (found[:, 0] == best).mean() >= 0.9
        assert np.isfinite(scores).all()


def test_a_row_that_is_added_again_has_its_new_vector(index: Index) -> None:
    row, query = ROWS[5], QUERIES[:1]
    index.add([row], -100 * query)
    assert len(index) == N
    found, _ = index.search(query, N)
    assert row not in found[0, : N // 2]
    index.add([row], 100 * query)
    assert index.search(query, 1)[0][0, 0] == row


def test_it_answers_the_same_after_saving(index: Index, tmp_path: Path) -> None:
    index.remove(ROWS[:5])
    index.add([20_000], QUERIES[:1])
    again = tm.load(index.save(tmp_path / "index"))
    assert type(again) is type(index) and repr(again) == repr(index)
    assert again.recall == index.recall and len(again) == len(index)
    for before, after in zip(index.search(QUERIES, 10), again.search(QUERIES, 10), strict=True):
        np.testing.assert_allclose(after, before, rtol=2e-3)
    again.add([20_001], 50 * QUERIES[:1])
    again.remove(ROWS[5:10])
    assert again.search(QUERIES[:1], 1)[0][0, 0] == 20_001


def test_a_damaged_file_is_an_error(index: Index, tmp_path: Path) -> None:
    path = index.save(tmp_path / "index")
    file = path / "index.safetensors"
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    file.write_bytes(contents)
    with pytest.raises(ReleaseError, match="damaged"):
        tm.load(path)


def test_more_than_there_are(index: Index) -> None:
    allowed = np.zeros(2 * N + 1, np.bool_)
    allowed[ROWS[:3]] = True
    found, scores = index.search(QUERIES[:2], 5, allowed=allowed)
    assert (np.sort(found[:, :3], axis=1) == np.sort(ROWS[:3])).all()
    assert (found[:, 3:] == 0).all() and np.isneginf(scores[:, 3:]).all()
    found, _ = index.search(QUERIES[:1], N + 100)
    kept = found[found > 0]
    assert len(np.unique(kept)) == len(kept) and (found[:, N:] == 0).all()


def test_few_vectors_and_none(empty: Index, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        empty.search(QUERIES, 1)
    empty.build(np.empty(0, np.int64), np.empty((0, DIM), np.float32))
    assert len(empty) == 0 and empty.recall is None
    here = tm.load(empty.save(tmp_path / "index"))
    found, scores = here.search(QUERIES, 3)
    assert found.shape == (len(QUERIES), 3)
    assert (found == 0).all() and np.isneginf(scores).all()
    assert here.search(QUERIES[:0], 3)[0].shape == (0, 3)
    here.add([4, 9], QUERIES[:2])
    found, _ = here.search(QUERIES[:1], 3)
    assert sorted(found[0].tolist()) == [0, 4, 9]


def test_dimensions_that_nothing_divides() -> None:
    vectors, queries = clustered(500, dim=17)
    index = IVFPQIndex(lists=4, probes=4).build(np.arange(1, 501), vectors, queries=queries)
    assert index.recall is not None and index.recall.value >= 0.95


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(index: Index, wrong: float) -> None:
    bad = QUERIES[:2].copy()
    bad[1, 3] = wrong
    for call in (
        lambda: index.search(bad, 1),
        lambda: index.add([20_000, 20_001], bad),
        lambda: type(index)().build([1, 2], bad),
    ):
        with pytest.raises(DataError, match=r"row 2.*finite"):
            call()


def test_what_does_not_fit_is_refused(index: Index) -> None:
    one = QUERIES[:1]
    for call, message in (
        (lambda: index.add([0], one), "from 1"),
        (lambda: index.add([1, 2], one), "a row for each"),
        (lambda: index.add([1, 1], QUERIES[:2]), "once"),
        (lambda: index.add(["a"], one), "integers"),
        (lambda: index.add([1], one[:, :3]), r"\[n, 16\]"),
        (lambda: index.search(one[:, :3], 1), r"\[n, 16\]"),
        (lambda: type(index)().build([1, 1], QUERIES[:2]), "twice"),
    ):
        with pytest.raises(DataError, match=message):
            call()
    with pytest.raises(ParameterError, match="k must be"):
        index.search(one, 0)
    with pytest.raises(ParameterError, match="histories"):
        index.search(one, 1, excluded=tm.Histories.from_lists([[1], [2]]))


def test_searches_go_on_while_rows_come_and_go(index: Index) -> None:
    more, _ = clustered(600, DIM, seed=3)
    failed: list[BaseException] = []
    done = threading.Event()

    def change() -> None:
        try:
            for start in range(0, 600, 50):
                index.add(np.arange(start, start + 50) + 30_000, more[start : start + 50])
                index.remove(np.arange(start, start + 25) + 30_000)
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=change)
    thread.start()
    searches = 0
    while not done.is_set() or searches < 5:
        found, scores = index.search(QUERIES[:8], 10)
        assert (found > 0).all() and np.isfinite(scores).all()
        searches += 1
    thread.join()
    assert not failed
    assert len(index) == N + 300
    gone = np.arange(600)[np.arange(600) % 50 < 25] + 30_000
    assert not np.isin(index.search(QUERIES, 100)[0], gone).any()


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"tastemap\[ann\]"):
        HNSWIndex().build(ROWS, VECTORS)
    ExactIndex().build(ROWS, VECTORS)


def test_lists_lead_to_long_vectors_first() -> None:
    # Some are a hundred times as long as others, as items that many took and that hardly anybody
    # did; lists of the greatest products with centres have .55 of the nearest.
    rng = np.random.default_rng(0)
    scale = (1 + np.arange(16)) ** -0.5
    lengths = rng.lognormal(0, 2, (20_000, 1))
    vectors = (rng.standard_normal((20_000, 16)) * scale * lengths).astype(np.float32)
    queries = (rng.standard_normal((50, 16)) * scale).astype(np.float32)
    index = IVFIndex(probes=64).build(np.arange(1, 20_001), vectors, queries=queries)
    assert index.recall is not None and index.recall.value > 0.9


changes = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(1, 300), max_size=3)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(st.sampled_from(INDICES), changes)
def test_a_mask_that_stays_lets_through_what_it_says_whatever_comes_and_goes(
    of: Index, changes: list[tuple[str, list[int]]]
) -> None:
    vectors, queries = VECTORS[:200], QUERIES[:3]
    fewer = {"lists": 4} if isinstance(of, Lists) else {}
    index = type(of)(**of.hyperparameter_values() | fewer)
    index.build(np.arange(1, 201), vectors, queries=queries)
    masks = [np.random.default_rng(0).random(301) < share for share in (0.9, 0.05)]
    seen = tm.Histories.from_lists([[], [1, 2], [*range(1, 150)]])
    for change, rows in [("", []), *changes]:
        rows = np.unique(np.array(rows, np.int64))
        if change == "remove":
            index.remove(rows)
        elif change == "add":
            index.add(rows, -VECTORS[500 + rows])
        for mask in masks:
            for excluded in (None, seen):
                plain = index.search(queries, 5, allowed=mask.copy(), excluded=excluded)
                constant(mask)
                for _ in range(2):
                    found = index.search(queries, 5, allowed=mask, excluded=excluded)
                    np.testing.assert_array_equal(found[0], plain[0])
                    np.testing.assert_array_equal(found[1], plain[1])
