"""Masked batches: every event once, as many hidden as asked for, and what an answer looks at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tastemap.data.histories import Histories
from tastemap.training.masked_batches import MaskedBatches

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def histories_of(counts: list[int]) -> Histories:
    """Histories whose items are all different, at the time of their item."""
    edges = np.concatenate([[0], np.cumsum(counts)])
    rows = [list(range(a + 1, b + 1)) for a, b in pairwise(edges)]
    return Histories.from_lists(rows, times=[[float(i) for i in row] for row in rows])


@given(
    COUNTS,
    st.integers(2, 12),
    st.integers(1, 50),
    st.floats(0.01, 1),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_an_epoch_is_every_event_and_some_are_hidden(
    counts: list[int], max_length: int, size: int, share: float, last_share: float
) -> None:
    h = histories_of(counts)
    batches = MaskedBatches(h, max_length, share, last_share)
    events: list[int] = []
    for batch in batches.epoch(size, np.random.default_rng(0)):
        hidden, packing = batch.hidden, batch.packing
        assert hidden is not None and batch.targets is not None
        assert packing.lengths.max() <= max_length
        assert len(hidden.unique()) == len(hidden) > 0
        # Nothing of a hidden item is left but the time, which says here which it was.
        assert torch.equal(hidden, (batch.items == 0).nonzero()[:, 0])
        assert torch.equal(batch.targets, batch.times[hidden].long())
        seen = batch.items > 0
        assert torch.equal(batch.items[seen], batch.times[seen].long())
        if last_share == 0:
            assert len(hidden) == np.ceil(share * len(batch.items))
        if last_share == 1:
            assert torch.equal(hidden, packing.last)
        events += batch.times.long().tolist()
    assert sorted(events) == h.items.tolist()


def test_in_a_share_of_the_windows_only_the_last_event_is_hidden() -> None:
    batches = MaskedBatches(histories_of([10] * 2000), 10, 0.5, 0.3)
    (batch,) = batches.epoch(20_000, np.random.default_rng(0))
    assert batch.hidden is not None
    here = torch.zeros(20_000).index_fill_(0, batch.hidden, 1.0).view(2000, 10)
    last_alone = (here.sum(1) == 1) & (here[:, -1] == 1)
    assert last_alone.float().mean() == pytest.approx(0.3, abs=0.04)
    # All places of the others alike.
    np.testing.assert_allclose(here[~last_alone].mean(0), 0.5, atol=0.06)


@given(COUNTS, st.integers(2, 12))
def test_an_answer_looks_at_the_last_events_and_asks_for_the_next(
    counts: list[int], max_length: int
) -> None:
    h = histories_of(counts)
    batch = MaskedBatches(h, max_length, 0.2, 0.0).recent()
    sequences = batch.items.split(batch.packing.lengths.tolist())
    found = dict(zip(batch.rows.tolist(), (s.tolist() for s in sequences), strict=True))
    expected = {
        row: [*h.items_of(row)[1 - max_length :].tolist(), 0]
        for row in range(len(h))
        if h.counts[row]
    }
    assert found == expected
    assert batch.hidden is not None and torch.equal(batch.hidden, batch.packing.last)
    newest = [float(h.items_of(row)[-1]) for row in batch.rows.tolist()]
    assert batch.times[batch.hidden].tolist() == newest
    assert batch.targets is None
