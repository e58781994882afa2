"""Batches of sequences: every pair of neighbours once, windows, the most recent events."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemap.data.histories import Histories
from tastemap.training.sequence_batches import SequenceBatches

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def histories_of(counts: list[int]) -> Histories:
    """Histories whose items are all different, at the time of their item."""
    edges = np.concatenate([[0], np.cumsum(counts)])
    rows = [list(range(a + 1, b + 1)) for a, b in pairwise(edges)]
    return Histories.from_lists(rows, times=[[float(i) for i in row] for row in rows])


@given(COUNTS, st.integers(1, 12), st.integers(1, 50), st.integers(0, 3))
def test_an_epoch_is_every_event_with_its_next_one(
    counts: list[int], max_length: int, size: int, seed: int
) -> None:
    h = histories_of(counts)
    batches = SequenceBatches(h, max_length)
    row_of = dict(zip(h.items.tolist(), h.rows_of_events().tolist(), strict=True))
    pairs: list[int] = []
    sizes = []
    for batch in batches.epoch(size, np.random.default_rng(seed)):
        sizes.append(len(batch.items))
        assert batch.packing.lengths.max() <= max_length
        assert batch.targets is not None
        assert batch.target_times is not None
        assert torch.equal(batch.targets, batch.items + 1)
        assert torch.equal(batch.target_times, batch.targets.double())
        assert torch.equal(batch.times, batch.items.double())
        # What stands next to each other in a sequence is so in the history.
        inside = batch.packing.places > 0
        assert torch.equal(batch.items[inside], batch.items[inside.roll(-1)] + 1)
        rows = batch.rows[batch.packing.sequences].tolist()
        assert rows == [row_of[item] for item in batch.items.tolist()]
        pairs += batch.items.tolist()
    last = {items[-1] for row in range(len(h)) if len(items := h.items_of(row))}
    assert sorted(pairs) == sorted(set(h.items.tolist()) - last)
    assert sizes[:-1] == [size] * (len(sizes) - 1)


@given(COUNTS, st.integers(1, 12))
def test_an_answer_looks_at_the_last_events(counts: list[int], max_length: int) -> None:
    h = histories_of(counts)
    batch = SequenceBatches(h, max_length).recent()
    sequences = batch.items.split(batch.packing.lengths.tolist())
    found = dict(zip(batch.rows.tolist(), (s.tolist() for s in sequences), strict=True))
    expected = {
        row: h.items_of(row)[-max_length:].tolist() for row in range(len(h)) if h.counts[row]
    }
    assert found == expected
    assert batch.targets is None and batch.target_times is None


def test_long_histories_are_cut_anew_in_each_epoch() -> None:
    batches = SequenceBatches(histories_of([100]), 10)
    begins = []
    for seed in range(20):
        (batch,) = batches.epoch(100, np.random.default_rng(seed))
        begins.append(set(batch.items[batch.packing.places == 0].tolist()))
    assert len({frozenset(b) for b in begins}) > 5


def test_kinds_and_times_come_along() -> None:
    h = Histories.from_events(
        np.zeros(3, np.int32),
        np.array([5, 6, 7], np.int32),
        np.array([1.5e9, 1.6e9, 1.7e9]),
        np.ones(3, np.float32),
        np.array([2, 0, 255], np.uint8),
        1,
    )
    batch = SequenceBatches(h, 5).recent()
    assert batch.kinds.tolist() == [2, 0, 255]
    assert batch.times.tolist() == [1.5e9, 1.6e9, 1.7e9]
    assert batch.times.dtype == torch.float64
