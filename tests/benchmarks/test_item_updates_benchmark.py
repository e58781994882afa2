"""The blocks of events after a release: nothing of what is asked is known, or in the last tenth."""

from __future__ import annotations

import numpy as np

import tastemap as tm
from benchmarks.item_updates import blocks, events_of


def test_what_is_asked_comes_after_all_that_is_known() -> None:
    data = tm.datasets.load("movielens-100k").filter(min_value=4)
    h = data.histories
    last = np.sort(h.times)[int(0.9 * h.n_events)]
    found = list(blocks(data))
    assert len(found) == 10
    seen = found[0].before.n_events
    for block in found:
        assert block.before.n_events == seen
        times = h.times[block.events]
        assert block.before.histories.times.max() <= times.min()
        assert times.max() <= last
        seen += int(block.events.sum())
        events = events_of(data, block.events)
        assert len(events) == block.events.sum()
        assert [event.time for event in events] == sorted(times.tolist())
        for row in range(len(block.asked)):
            known = block.asked.histories.slice(row, row + 1)
            truth = block.truth.slice(row, row + 1)
            assert known.times.max(initial=0) <= truth.times.min()
            assert not np.isin(truth.items, known.items).any()
            assert truth.times.max() <= last
