"""Models of sequences tell the kinds of events apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.parts.next_item import NextItemRetriever

SEEN, BOUGHT = 10, 20
MODELS = [
    tm.GRU4Rec(dim=32, epochs=12, learning_rate=0.02, batch_size=128, item2vec_epochs=0),
    tm.SASRec(dim=32, epochs=12, learning_rate=0.02, batch_size=128, item2vec_epochs=0),
    tm.BERT4Rec(dim=32, epochs=40, learning_rate=0.01, batch_size=128, item2vec_epochs=0),
    tm.HSTU(dim=32, epochs=12, learning_rate=0.02, batch_size=128, item2vec_epochs=0),
]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """After one of eight items that was bought comes item 20, after one that was seen item 10."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        for step in range(0, 12, 2):
            bought = bool(rng.integers(2))
            rows.append((user, int(rng.integers(1, 9)), float(step), "buy" if bought else "see"))
            rows.append((user, BOUGHT if bought else SEEN, step + 1.0, "see"))
    schema = ["user", "item", "timestamp", "kind"]
    return Dataset.from_frame(pl.DataFrame(rows, schema=schema, orient="row"))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_comes_next_depends_on_the_kind_of_the_last_event(
    shop: Dataset, model: NextItemRetriever
) -> None:
    model.fit(shop, run=tm.Run(device="cpu", progress=False))
    # The same item for all, and only its kind differs.
    item = shop.items.rows([3])[0]
    kinds = [shop.kind_names.index(name) for name in ("see", "buy")]
    histories = Histories.from_lists([[item], [item]])
    histories.kinds[:] = kinds
    scores = model.score(Queries.of(histories), shop.items.rows([SEEN, BOUGHT]))
    assert scores[0, 0] > scores[0, 1] + 0.5
    assert scores[1, 1] > scores[1, 0] + 0.5
