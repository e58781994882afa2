from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tastemap import Histories

events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 4)), max_size=60)


def grouped(listed: list[tuple[int, int, int]]) -> Histories:
    rows, items, times = (
        (np.array(column) for column in zip(*listed, strict=True)) if listed else (np.empty(0),) * 3
    )
    m = len(listed)
    return Histories.from_events(
        rows.astype(np.int32),
        items.astype(np.int32),
        times.astype(np.float64),
        np.arange(m, dtype=np.float32),
        np.zeros(m, np.uint8),
        6,
    )


@given(events)
def test_grouping_is_a_stable_sort_by_row_and_time(listed: list[tuple[int, int, int]]) -> None:
    h = grouped(listed)
    expected = sorted(range(len(listed)), key=lambda e: (listed[e][0], listed[e][2], e))
    assert h.values.astype(int).tolist() == expected
    assert h.rows_of_events().tolist() == [listed[e][0] for e in expected]
    assert h.counts.sum() == len(listed)


@given(events, st.lists(st.integers(0, 5), max_size=8))
def test_take_gives_the_rows_asked_for(listed: list[tuple[int, int, int]], rows: list[int]) -> None:
    h = grouped(listed)
    taken = h.take(rows)
    assert [taken.items_of(i).tolist() for i in range(len(rows))] == [
        h.items_of(row).tolist() for row in rows
    ]


@given(events, st.integers(0, 6), st.integers(0, 6))
def test_a_slice_is_a_take(listed: list[tuple[int, int, int]], a: int, b: int) -> None:
    h = grouped(listed)
    start, stop = min(a, b), max(a, b)
    taken, sliced = h.take(np.arange(start, stop)), h.slice(start, stop)
    assert taken.offsets.tolist() == sliced.offsets.tolist()
    assert taken.values.tolist() == sliced.values.tolist()


@given(events, events)
def test_appending_is_grouping_all(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]
) -> None:
    joined, together = grouped(first).append(grouped(second)), grouped(first + second)
    assert joined.items.tolist() == together.items.tolist()
    assert joined.times.tolist() == together.times.tolist()


@given(events)
def test_the_matrix_counts_distinct_known_pairs(listed: list[tuple[int, int, int]]) -> None:
    h = grouped(listed)
    before = h.items.copy()
    matrix = h.to_csr(10)
    pairs = {(row, item) for row, item, _ in listed if item > 0}
    assert set(zip(*(part.tolist() for part in matrix.nonzero()), strict=True)) == pairs
    assert (matrix.data == 1).all()
    summed = h.to_csr(10, values=True).toarray()
    expected = np.zeros((6, 10))
    for e, (row, item, _) in enumerate(listed):
        expected[row, item] += e * (item > 0)
    np.testing.assert_allclose(summed, expected)
    np.testing.assert_array_equal(h.items, before)
