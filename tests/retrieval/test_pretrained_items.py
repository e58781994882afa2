"""Items that begin with the vectors of an `Item2Vec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tastemap as tm
from tastemap.data.dataset import Dataset
from tastemap.retrieval.item2vec_training import KernelTrainer
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)
# Steps so small that nothing moves.
STILL: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-12, "item2vec_epochs": 3}
MODELS: list[tuple[type[PretrainedItems], dict[str, Any]]] = [
    (tm.MatrixFactorization, {"factors": 6}),
    (tm.MatrixFactorization, {"factors": 6, "loss": "bpr"}),
    (tm.MatrixFactorization, {"factors": 6, "loss": "softmax"}),
    (tm.BPR, {"factors": 6}),
    (tm.WARP, {"factors": 6}),
    (tm.LogisticMF, {"factors": 6}),
    (tm.GMF, {"factors": 6}),
    (tm.NCFMLP, {"factors": 4}),
    (tm.NeuMF, {"factors": 4, "pretraining_epochs": 0}),
    (tm.CML, {"factors": 6}),
    (tm.User2Vec, {"factors": 6}),
    (tm.SASRec, {"dim": 6}),
    (tm.GRU4Rec, {"dim": 6}),
    (tm.YouTubeDNN, {"dim": 6}),
]


def tables_of(model: PretrainedItems, dataset: Dataset) -> list[NDArray[np.float32]]:
    """The tables of items that an epoch begins with."""
    found: list[NDArray[np.float32]] = []
    fit_in_epochs = PretrainedItems._fit_in_epochs

    def spy(self: PretrainedItems, trainer: Any, *rest: Any, **how: Any) -> None:
        fit_in_epochs(self, trainer, *rest, **how)
        found.extend(self.item_tables(trainer.state()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PretrainedItems, "_fit_in_epochs", spy)
        model.fit(dataset, run=QUIET)
    return found


@pytest.mark.parametrize("cls, settings", MODELS)
def test_items_begin_where_an_item2vec_ended(
    cls: type[PretrainedItems], settings: dict[str, Any], walks: Dataset
) -> None:
    tables = tables_of(cls(**settings, **STILL), walks)
    assert tables
    for table in tables:
        model = tm.Item2Vec(factors=table.shape[1], epochs=3)
        vectors = model.fit(walks, run=QUIET).input_vectors
        known = vectors.any(1)
        np.testing.assert_allclose(
            table[known], 0.1 * vectors[known] / vectors[known].std(ddof=1), rtol=1e-3, atol=1e-6
        )


def test_without_it_they_begin_at_random(walks: Dataset) -> None:
    (table,) = tables_of(tm.BPR(factors=6, epochs=1, learning_rate=1e-12), walks)
    assert table[1:].std() == pytest.approx(0.01, rel=0.1)


def test_neumf_goes_on_with_what_its_two_models_have_learned(walks: Dataset) -> None:
    settings = {"factors": 4, "layers": 2, "item2vec_epochs": 3}
    neumf = tm.NeuMF(**settings, pretraining_epochs=2, epochs=1, sgd_rate=1e-30)
    shared = {name: getattr(neumf, name) for name in ("negatives", "regularization")}
    gmf = tm.GMF(factors=4, item2vec_epochs=3, epochs=2, **shared).fit(walks, run=QUIET)
    neumf.fit(walks, run=QUIET)
    begun, learned = neumf.network.items[:, :4].detach(), gmf.network.items.detach()
    np.testing.assert_allclose(begun, learned, rtol=1e-4, atol=1e-6)


def test_bpr_knows_more_after_one_pass(liked_movies: Dataset) -> None:
    split = tm.splits.LeaveOneOut().split(liked_movies)
    assert split.validation is not None
    found = {}
    for passes in (0, 10):
        model = tm.BPR(epochs=1, item2vec_epochs=passes).fit(split.train, run=QUIET)
        found[passes] = tm.evaluate(model, split.validation, ["ndcg@10"]).metrics["ndcg@10"]
    assert found[10] > 1.2 * found[0]


def test_ctrl_c_while_the_first_vectors_are_learned_ends_it_all(
    walks: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_over = KernelTrainer.train_epoch

    def stopped(self: KernelTrainer, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        if epoch == 1:
            raise KeyboardInterrupt
        return pass_over(self, epoch, rng)

    monkeypatch.setattr(KernelTrainer, "train_epoch", stopped)
    assert tm.Item2Vec(epochs=3).fit(walks, run=QUIET).training.stopped == "interrupted"
    with pytest.raises(KeyboardInterrupt):
        tm.GRU4Rec(dim=6, **STILL).fit(walks, run=QUIET)
