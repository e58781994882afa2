"""A fit in epochs, as every model does it: described, validated, stopped early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.metrics import judge, ndcg, rmse
from tastemap.retrieval.base import Retriever
from tastemap.training.loop import State, Trainable, Training, train
from tastemap.training.run import Run, describe

__all__ = ["TrainedInEpochs"]


class TrainedInEpochs(Retriever):
    """A retriever that is trained in epochs by the training loop.

    Attributes:
        training: how the training went, right after `fit`.
    """

    patience: int = hyperparameter(
        default=5, help="with validation: stop after so many epochs without a better one", ge=1,
        tuned=False,
    )  # fmt: skip
    seed: int = hyperparameter(default=0, help="of all random numbers", ge=0, tuned=False)

    def _fit_in_epochs(
        self,
        trainer: Trainable,
        epochs: int,
        validation: Holdout | None,
        run: Run,
        *,
        monitor: Literal["ndcg@10", "rmse"] = "ndcg@10",
        install: Callable[[State], None] | None = None,
        resolved: dict[str, Any] | None = None,
    ) -> None:
        """Trains and, with a validation set, goes by how well the model answers.

        Args:
            trainer: what `train` drives.
            epochs: how many at most.
            validation, run: as given to `Retriever.fit`.
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
            return {monitor: _MEASURES[monitor](self, validation)}

        self.training: Training = train(
            trainer,
            epochs=epochs,
            seed=self.seed,
            run=run,
            about=lambda: describe(self, self.data, **(resolved or {})),
            validate=None if validation is None else validate,
            monitor=None if validation is None else monitor,
            higher_is_better=monitor != "rmse",
            patience=self.patience,
        )
        give()


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
