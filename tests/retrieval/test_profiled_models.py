"""What YouTubeDNN and TwoTower share: order, packing, profiles, and answers without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.profiled import ProfiledRetriever
from tastemap.training.run import Run
from tastemap.training.sequence_batches import SequenceBatches

QUIET = Run(device="cpu", progress=False)
# As many passes of the Item2Vec as where data are dense: what is looked at is what comes after it.
SMALL: dict[str, Any] = {
    "dim": 16, "batch_size": 64, "learning_rate": 0.01, "dropout": 0.0, "item2vec_epochs": 10,
}  # fmt: skip
N_ITEMS = 30
MODELS = [tm.TwoTower, tm.YouTubeDNN]


def walks(seed: int = 0) -> Dataset:
    """60 users who go from item to item: after item i comes i + 1, seldom another. Users of the
    taste "low" begin, and when they jump go on, below 15, the others above."""
    rng = np.random.default_rng(seed)
    rows, tastes = [], []
    for user in range(60):
        low = user % 2
        tastes.append("low" if low else "high")
        item = int(rng.integers(15)) + 15 * (1 - low)
        start = int(rng.integers(100))
        for step in range(int(rng.integers(5, 25))):
            rows.append((user, item, float(start + step)))
            jump = int(rng.integers(15)) + 15 * (1 - low)
            item = jump if rng.random() < 0.15 else (item + 1) % 15 + item // 15 * 15
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    users = pl.DataFrame({"user": range(60), "taste": tastes, "age": [20 + i for i in range(60)]})
    return Dataset.from_frame(frame, users=users)


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def fitted(request: pytest.FixtureRequest) -> ProfiledRetriever:
    # A short mean, so that what comes next can be told from it.
    model = request.param(**SMALL, max_length=4, epochs=40, hot_dropout=0.1)
    return model.fit(walks(), run=QUIET)


def test_it_learns_what_comes_next(fitted: ProfiledRetriever) -> None:
    losses = [epoch["loss"] for epoch in fitted.training.history]
    assert losses[-1] < 0.8 * losses[0]
    starts = np.array([i for i in range(N_ITEMS) if i % 15 < 12])
    found = fitted.recommend(histories=[[i, i + 1, i + 2] for i in starts.tolist()], k=1)
    assert (found["item"].to_numpy() == starts + 3).mean() > 0.7


HISTORIES = st.lists(st.lists(st.integers(0, N_ITEMS), max_size=20), min_size=1, max_size=12)


@given(HISTORIES, st.integers(0, 99))
def test_queries_are_encoded_together_as_one_by_one(
    fitted: ProfiledRetriever, histories: list[list[int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    profile = fitted.data.profiles(rng.integers(0, 60, len(histories)))
    queries = Queries.of(Histories.from_lists(histories), profile=profile)
    alone = [fitted.encode_queries(part) for _, part in queries.tiles(1)]
    together = fitted.encode_queries(queries)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-5)


def test_what_comes_later_changes_no_earlier_position(fitted: ProfiledRetriever) -> None:
    before, after = (
        SequenceBatches(Histories.from_lists([items]), 9).recent()
        for items in ([3, 4, 5, 9, 8], [3, 4, 5, 9, 8, 20])
    )
    with torch.inference_mode():
        earlier, all_ = fitted.network.summaries(before), fitted.network.summaries(after)
    torch.testing.assert_close(all_[:-1], earlier)


def test_a_profile_alone_gets_an_answer_of_its_own(fitted: ProfiledRetriever) -> None:
    best = []
    for profile in ({"taste": "low"}, {"taste": "high"}):
        stranger = Queries.of(Histories.empty(1), profile=fitted.data.profile_of(profile))
        assert fitted.knows(stranger).all()
        best.append(fitted.items.ids(fitted.answer(stranger, 8).items))
    assert np.mean([item < 15 for item in best[0]]) > 0.8
    assert np.mean([item >= 15 for item in best[1]]) > 0.8


def test_of_whom_nothing_is_known_nothing_is_said(fitted: ProfiledRetriever) -> None:
    queries = Queries.of(
        Histories.from_lists([[], [0], [5]]),
        profile=pl.concat([fitted.data.profile_of({})] * 3),
    )
    assert fitted.knows(queries).tolist() == [False, False, True]
    vectors = fitted.encode_queries(queries)
    assert not vectors[:2].any() and vectors[2].any()
    assert fitted.encode_queries(queries.slice(0, 0)).shape == (0, 16)


def test_a_history_still_counts_beside_a_profile(fitted: ProfiledRetriever) -> None:
    profile = fitted.data.profile_of({"taste": "low"})
    one, other = (
        fitted.score(Queries.of(Histories.from_lists([items]), profile=profile))
        for items in ([2, 3, 4], [9, 10, 11])
    )
    assert np.abs(one - other).max() > 0.01


def test_profiles_are_read_alike_after_loading(fitted: ProfiledRetriever, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    loaded = tm.load(tmp_path / "model")
    rows = np.arange(1, 20)
    queries = replace(fitted.data.queries(rows), histories=Histories.empty(len(rows)))
    assert fitted.knows(queries).all()
    np.testing.assert_array_equal(loaded.score(queries), fitted.score(queries))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_tables_may_be_missing(model: type[ProfiledRetriever]) -> None:
    data = replace(walks(), user_table=None)
    fitted = model(**SMALL, epochs=1).fit(data, run=QUIET)
    told = pl.DataFrame({"taste": ["low", "low"]})
    queries = Queries.of(Histories.from_lists([[], [3]]), profile=told)
    assert fitted.knows(queries).tolist() == [False, True]
    assert len(fitted.recommend(histories=[[3], []], k=5)) == 10
