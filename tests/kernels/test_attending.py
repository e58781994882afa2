"""Attention of candidates over one history, as torch computes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tastemap.kernels.attending import attended


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
@pytest.mark.parametrize("n_events", [0, 1, 7, 50])
def test_what_candidates_attend_to_is_what_torch_says(n_events: int, scale: float) -> None:
    rng = np.random.default_rng(n_events)
    dim, first = 6, 4
    events, keys = rng.normal(0, scale, (2, n_events, dim)).astype(np.float32)
    items = rng.normal(0, 1, (30, 15)).astype(np.float32)
    places = rng.integers(0, 30, 80)
    found = attended(events, keys, items, first, places)
    candidates = torch.from_numpy(items[places, first : first + dim])
    weights = (candidates @ torch.from_numpy(keys).T).softmax(1)
    expected = (weights @ torch.from_numpy(events)).numpy()
    assert (found.shape, found.dtype) == ((80, dim), np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)
