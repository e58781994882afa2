"""Rankers that look at a history anew for each candidate."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import tastemap as tm
from tastemap.errors import SchemaError
from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.features.schema import Categorical, MultiValued, Schema, Sequence
from tastemap.nn.candidate_attention import ActivationUnit
from tastemap.nn.numbers import ScaledNumbers
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import Inputs

SCHEMA = Schema(
    (
        Categorical("user", 3),
        Categorical("item", 5),
        MultiValued("genres", 4),
        Sequence("seen", "item"),
        Sequence("followed", "user"),
    )
)
BATCH = FeatureBatch(
    SCHEMA,
    np.array([[1, 4], [2, 0], [0, 1]], np.int64),
    np.empty((3, 0), np.float32),
    (Ragged.of([[1, 3], [0], []]),),
    (Ragged.of([[4, 4, 1], [2, 0], []]), Ragged.of([[], [2, 1], [1]])),
)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_sequence_is_the_sum_of_its_events_times_their_weights(
    sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sparse:
        monkeypatch.setattr("tastemap.ranking.parts.fields._SPARSE_FROM", 1)
    torch.manual_seed(0)
    fields = Fields(
        SCHEMA,
        2,
        ScaledNumbers(0, 2),
        deviation=1.0,
        attention=lambda: ActivationUnit(2, 3, torch.nn.Sigmoid()),
    )
    found = fields(Inputs(BATCH, "cpu").batch(torch.arange(3)))
    w = fields.table.weight
    seen, followed = fields.attentions

    def pooled(unit: torch.nn.Module, events: list[int], candidate: int) -> torch.Tensor:
        keys = w[torch.tensor(events, dtype=torch.long)]
        rows = torch.zeros(len(events), dtype=torch.long)
        weights: torch.Tensor = unit(keys, w[candidate][None], rows)
        return weights @ keys

    # Users are rows 1 and 2, items 3 to 6, genres 7 to 9; 0 is the unknown.
    expected = torch.stack(
        [
            torch.stack([w[1], w[6], (w[7] + w[9]) / 2, pooled(seen, [6, 6, 3], 6), 0 * w[0]]),
            torch.stack([w[2], w[0], w[0], pooled(seen, [4], 0), pooled(followed, [2, 1], 2)]),
            torch.stack([w[0], w[3], w[0], 0 * w[0], pooled(followed, [1], 0)]),
        ]
    )
    torch.testing.assert_close(found, expected)
    factors = torch.randn(found.shape)
    parameters = [w, *seen.parameters(), *followed.parameters()]
    mine = torch.autograd.grad((found * factors).sum(), parameters)
    theirs = torch.autograd.grad((expected * factors).sum(), parameters)
    assert mine[0].is_sparse == sparse
    dense = [each.to_dense() if each.is_sparse else each for each in mine]
    dense[0][0] = theirs[0][0]  # the unknown row never learns
    torch.testing.assert_close(dense, list(theirs))


def rows(n: int, seed: int) -> pl.DataFrame:
    """A click where the item is in the history, which the mean of a history blurs."""
    rng = np.random.default_rng(seed)
    history = [rng.choice(40, 8, replace=False) for _ in range(n)]
    inside = rng.random(n) < 0.5
    items = [
        rng.choice(seen) if there else rng.choice(np.setdiff1d(np.arange(40), seen))
        for seen, there in zip(history, inside, strict=True)
    ]
    return pl.DataFrame(
        {
            "item": [f"i{item}" for item in items],
            "history": [[f"i{item}" for item in seen] for seen in history],
            "click": inside.astype(np.int8),
        }
    )


@pytest.mark.parametrize(
    ("name", "more", "least"),
    [("DIN", {}, 0.9), ("DIN", {"activation": "prelu"}, 0.75), ("DCNv2", {"history": "dot"}, 0.9)],
)
def test_it_finds_the_candidate_in_the_history(
    name: str, more: dict[str, Any], least: float
) -> None:
    train, test = rows(2000, 0), rows(300, 1)
    ranker = getattr(tm, name)(
        epochs=12, learning_rate=0.03, batch_size=128, regularization=0.0, input_dropout=0.0,
        dropout=0.0, hidden=32, layer_rate=0.5, **more,
    )  # fmt: skip
    ranker.fit_frame(train, kinds={"history": "sequence of item"})
    right = (ranker.predict_frame(test) > 0.5) == (test["click"] == 1).to_numpy()
    assert right.mean() > least


def test_without_a_sequence_it_says_what_is_missing() -> None:
    with pytest.raises(SchemaError, match=r"no feature is a sequence.*'?history"):
        tm.DIN().fit_frame(rows(20, 0), kinds={"history": "multi_valued"})
