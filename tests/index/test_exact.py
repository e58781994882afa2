"""The exact index against plain numpy, with and without its first pass in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemap as tm
from tastemap.index.exact import ExactIndex
from tests.index.vectors import clustered


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    dim=st.integers(1, 9),
    k=st.integers(1, 70),
    share=st.sampled_from([None, 0.0, 0.3, 1.0]),
    changes=st.booleans(),
)
def test_as_plain_numpy(
    seed: int, n: int, dim: int, k: int, share: float | None, changes: bool
) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: products are exact, and many are equal.
    vectors = rng.integers(-3, 4, (n, dim)).astype(np.float32)
    rows = rng.permutation(100)[:n] + 1
    index = ExactIndex().build(rows, vectors)
    held = dict(zip(rows.tolist(), vectors, strict=True))
    if changes and n > 1:
        index.remove(rows[: n // 2])
        index.add(rows[:1], vectors[-1:])
        held = {row: vector for row, vector in held.items() if row not in rows[: n // 2]}
        held[int(rows[0])] = vectors[-1]
    queries = rng.integers(-3, 4, (3, dim)).astype(np.float32)
    seen = [rng.integers(0, 101, 5).tolist() for _ in queries]
    allowed = None if share is None else rng.random(101) < share
    found, scores = index.search(
        queries, k, allowed=allowed, excluded=tm.Histories.from_lists(seen)
    )
    for query, left_out, out, products in zip(queries, seen, found, scores, strict=True):
        usable = [row for row in held if row not in left_out and (allowed is None or allowed[row])]
        expected = sorted((float(held[row] @ query) for row in usable), reverse=True)[:k]
        assert products[: len(expected)].tolist() == expected
        assert (out[len(expected) :] == 0).all()
        came = out[: len(expected)].tolist()
        assert len(set(came)) == len(came) and set(came) <= set(usable)
        assert [float(held[row] @ query) for row in came] == expected


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_the_first_pass_changes_nothing(spread: float) -> None:
    vectors, queries = clustered(9000, 24, seed=5)
    # With a small spread all products are so near to each other that bfloat16 cannot tell them.
    vectors = (vectors[0] + spread * vectors).astype(np.float32)
    seen = tm.Histories.from_lists([[1, 2, 3]] * len(queries))
    index = ExactIndex().build(np.arange(1, 9001), vectors)
    answers = []
    for index._first_pass in (False, True):
        answers.append(index.search(queries, 50, excluded=seen))
    (plain, plain_scores), (found, scores) = answers
    np.testing.assert_allclose(scores, plain_scores, rtol=1e-5)
    if spread == 1.0:
        assert (found == plain).mean() > 0.999
