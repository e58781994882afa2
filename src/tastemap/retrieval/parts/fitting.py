"""A fit in epochs, as every model does it: described, validated, stopped early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout
from tastemap.metrics import judge, ndcg, rmse
from tastemap.retrieval.base import Retriever
from tastemap.training.loop import State, Trainable, Training, train
from tastemap.training.run import Run, describe

__all__ = ["fit_in_epochs"]


def fit_in_epochs(
    model: Retriever,
    trainer: Trainable,
    dataset: Dataset,
    validation: Holdout | None,
    run: Run,
    *,
    epochs: int,
    seed: int,
    patience: int,
    monitor: Literal["ndcg@10", "rmse"] = "ndcg@10",
    install: Callable[[State], None] | None = None,
    resolved: dict[str, Any] | None = None,
) -> Training:
    """Trains a model in epochs and, with a validation set, goes by how well it answers.

    Args:
        model: what answers for the validation; told of the trainer's state by `install`.
        trainer: what `train` drives.
        dataset, validation, run: as given to `Retriever.fit`.
        epochs, seed, patience: see `train`.
        monitor: NDCG@10 of the lists, or RMSE of the predicted ratings.
        install: hands the trainer's state to the model, before each validation and at the end;
            None where the model answers from what is being trained.
        resolved: hyper-parameters that the model has found itself, for the run folder.
    """

    def give() -> None:
        if install is not None:
            install(trainer.state())

    def validate() -> dict[str, float]:
        assert validation is not None
        give()
        return {monitor: _MEASURES[monitor](model, validation)}

    training = train(
        trainer,
        epochs=epochs,
        seed=seed,
        run=run,
        about=lambda: describe(model, dataset, **(resolved or {})),
        validate=None if validation is None else validate,
        monitor=None if validation is None else monitor,
        higher_is_better=monitor != "rmse",
        patience=patience,
    )
    give()
    return training


def _ndcg_at_10(model: Retriever, holdout: Holdout) -> float:
    best, truth = model.answer(holdout.queries, 10).padded(10), holdout.truth
    return float(np.nanmean(ndcg(*judge(best, truth.offsets, truth.items), k=10)))


def _rmse(model: Retriever, holdout: Holdout) -> float:
    truth = holdout.truth
    predicted = model.predict_pairs(
        holdout.queries, truth.rows_of_events(), truth.items, truth.times
    )
    return float(rmse(predicted, truth.values))


_MEASURES = {"ndcg@10": _ndcg_at_10, "rmse": _rmse}
