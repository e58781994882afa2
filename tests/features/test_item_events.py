"""What items had seen until a moment, however the events came."""

from __future__ import annotations

import numpy as np
import pytest

from tastemap.data.histories import Histories
from tastemap.features.item_events import ItemEvents


@pytest.mark.parametrize("n_items", [30, 3000])
@pytest.mark.parametrize("at_first", [0, 400])
def test_events_that_come_later_count_like_those_that_were_there(
    n_items: int, at_first: int
) -> None:
    rng = np.random.default_rng(0)
    n = at_first + 300
    items = rng.integers(1, min(n_items, 60), n).astype(np.int32)
    times, values = rng.integers(0, 500, n).astype(float), rng.random(n).astype(np.float32)

    def of(count: int) -> ItemEvents:
        one = np.array([0, count])
        kinds = np.zeros(count, np.uint8)
        some = Histories(one, items[:count], times[:count], values[:count], kinds)
        return ItemEvents(some, n_items, 0.5)

    together, apart = of(n), of(at_first)
    stop = at_first
    for size in [0, 1, 1, 2, 40, 3, 100, 7, 146]:
        batch = slice(stop, stop + size)
        apart.add(items[batch], times[batch], values[batch])
        stop += size
    assert stop == n
    asked = rng.integers(0, min(n_items, 70), 500).astype(np.int32)
    moments = rng.integers(0, 600, 500).astype(float)
    windows = moments[:, None] - np.array([20.0, 100.0])
    expected, found = (each.until(asked, moments, windows) for each in (together, apart))
    for name, theirs, mine in zip(expected._fields, expected, found, strict=True):
        np.testing.assert_allclose(mine, theirs, err_msg=name)
    assert expected.counts.max() > 100
    np.testing.assert_array_equal(apart.last_before(moments), together.last_before(moments))
    np.testing.assert_array_equal(apart.counts_until(asked, moments), expected.counts)
    now = np.full(500, np.inf)
    counts = together.until(asked, now, windows).counts
    np.testing.assert_array_equal(apart.counts_until(asked, now), counts)
