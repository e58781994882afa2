"""Learning anew from all rows once the validation rows have said how long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tastemap as tm
from tastemap.features.frames import FrameEncoder
from tastemap.ranking.labelled import Labelled


def rows(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    letter = rng.choice(list("abcd"), n)
    odds = np.where(letter < "c", 1.5, -1.5) + rng.normal(size=n)
    request = np.arange(n) // 5
    return pl.DataFrame({"letter": letter, "request": request, "click": odds > 0})


TRAIN, HELD, TEST = rows(600, 1), rows(200, 2), rows(100, 3)
# With a letter that the training rows do not have.
NEWER = HELD.with_columns(
    letter=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("e")).otherwise("letter")
)


def fm(**more: object) -> tm.FM:
    return tm.FM(dim=4, batch_size=64, epochs=5, **more)  # type: ignore[arg-type]


def test_requests_of_two_parts_are_never_one() -> None:
    encoder = FrameEncoder.fit(TRAIN, exclude=["click", "request"])
    parts = [
        Labelled.of(encoder.encode(part), part["click"].to_numpy(), part["request"].to_numpy())
        for part in (TRAIN, HELD)
    ]
    joined = Labelled.joined(parts)
    assert len(joined) == 800
    assert joined.groups is not None
    assert np.unique(joined.groups, return_counts=True)[1].tolist() == [5] * 160
    np.testing.assert_array_equal(joined.features.categorical[600:], parts[1].features.categorical)
    assert joined.positions is None


def test_an_order_is_learned_from_requests_of_both() -> None:
    ranker = fm(objective="listwise", calibration="platt", refit=True)
    ranker.fit_frame(TRAIN, group="request", validation=HELD)
    assert tm.metrics.click_auc(ranker.predict_frame(TEST), TEST["click"].to_numpy()) > 0.8


def test_values_that_only_the_validation_rows_have_are_known(tmp_path: Path) -> None:
    newer = NEWER.with_columns(click=pl.col("click") & (pl.col("letter") != "e"))
    asked = pl.DataFrame({"letter": ["e", "f", None], "request": 3})

    def odds(refit: bool) -> list[float]:
        ranker = fm(refit=refit).fit_frame(TRAIN, validation=newer)
        found = ranker.predict_frame(asked)
        again = tm.load(ranker.save(tmp_path / str(refit))).predict_frame(asked)
        np.testing.assert_allclose(found, again, rtol=1e-6)
        return found.tolist()

    new, unknown, missing = odds(refit=True)
    assert unknown == missing > new + 0.1
    assert len(set(odds(refit=False))) == 1


def test_what_is_written_down_is_the_training_that_was_measured(tmp_path: Path) -> None:
    seen: list[float] = []

    def noted(measured: Mapping[str, float]) -> None:
        seen.append(measured["log-loss"])

    run = tm.Run(folder=tmp_path, progress=False, on_epoch=noted, time_budget=600)
    ranker = fm(refit=True).fit_frame(TRAIN, group="request", validation=HELD, run=run)
    assert len(seen) == len(ranker.training.history)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == len(seen)


def test_half_of_a_time_budget_is_left_for_it() -> None:
    first, again = tm.Run(time_budget=8, device="cpu").repeated()
    assert (first.time_budget, again.time_budget, again.device) == (4, 4, "cpu")


@pytest.mark.parametrize("epoch", [2, 6, 7])
def test_an_interrupt_leaves_the_best_so_far(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from tastemap.ranking.parts import neural

    train_epoch, begun = neural._Trainer.train_epoch, 0

    def interrupted(self: neural._Trainer, *args: object) -> Mapping[str, float]:
        nonlocal begun
        begun += 1
        if begun == epoch:
            raise KeyboardInterrupt
        return train_epoch(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(neural._Trainer, "train_epoch", interrupted)
    answers = []
    for refit in (True, False):
        begun = 0
        ranker = fm(refit=refit, patience=5).fit_frame(TRAIN, "click", validation=NEWER)
        answers.append(ranker.predict_frame(TEST))
    np.testing.assert_array_equal(*answers)
