"""One more event changes the next answer at once, without any training, for every model that reads
a history in its order."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

import tastemap as tm
from tastemap.data.histories import Histories
from tastemap.retrieval.base import Retriever

MODELS = [
    tm.GRU4Rec(epochs=1),
    tm.SASRec(epochs=1),
    tm.BERT4Rec(epochs=1),
    tm.HSTU(epochs=1),
    tm.MemoryNetwork(level="item", epochs=1, negatives=32),
    tm.MemoryNetwork(level="feature", epochs=1, negatives=32),
    tm.YouTubeDNN(epochs=1),
    tm.TwoTower(epochs=1),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_one_event_changes_the_top_ten_without_training_in_no_time(model: Retriever) -> None:
    split = tm.splits.LeaveOneOut().split(tm.datasets.load("movielens-100k"))
    model.fit(split.train, run=tm.Run(device="cpu", progress=False))
    # One with a long history.
    row = int(np.argmax(split.train.histories.counts))
    before = split.train.queries(np.array([row]))
    liked = Histories.from_lists([[50]], times=[[2e9]])
    after = replace(before, histories=before.histories.append(liked))
    assert model.answer(before, 10).items.tolist() != model.answer(after, 10).items.tolist()
    medians = []
    for _ in range(8):
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            model.answer(after, 10)
            seconds.append(time.perf_counter() - start)
        medians.append(np.median(seconds))
    # The best of some, since others may be at work on the machine.
    assert min(medians) < 0.02
