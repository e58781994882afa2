"""What holds of every model that reads histories of items: others in the batch change nothing, and
only the last events count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.next_item import SequenceRetriever

SMALL: dict[str, Any] = {"dim": 16, "max_length": 12, "batch_size": 64, "epochs": 3}
# Each with how many of the last events it reads.
MODELS = [
    (tm.GRU4Rec(**SMALL, layers=2), 12),
    (tm.SASRec(**SMALL), 12),
    # One place is that of what is asked for.
    (tm.BERT4Rec(**SMALL), 11),
    (tm.MemoryNetwork(**SMALL, slots=4, level="item"), 12),
    (tm.MemoryNetwork(**SMALL, slots=4, level="feature"), 12),
]
HISTORIES = st.lists(st.lists(st.integers(0, 30), max_size=20), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=MODELS, ids=lambda case: case[0].name)
def case(request: pytest.FixtureRequest, walks: Dataset) -> tuple[SequenceRetriever, int]:
    model, reads = request.param
    return model.fit(walks, run=tm.Run(device="cpu", progress=False)), reads


@settings(max_examples=30)
@given(HISTORIES)
def test_histories_are_scored_together_as_one_by_one(
    case: tuple[SequenceRetriever, int], histories: list[list[int]]
) -> None:
    model, _ = case
    queries = Queries.of(Histories.from_lists(histories))
    alone = [model.score(part) for _, part in queries.tiles(1)]
    together = model.score(queries)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-4)


@settings(max_examples=30)
@given(HISTORIES)
def test_only_the_last_events_that_are_known_count(
    case: tuple[SequenceRetriever, int], histories: list[list[int]]
) -> None:
    model, reads = case
    recent = [[item for item in row if item][-reads:] for row in histories]
    whole, cut = (
        model.score(Queries.of(Histories.from_lists(rows))) for rows in (histories, recent)
    )
    np.testing.assert_array_equal(whole, cut)
