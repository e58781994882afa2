"""Matrix factorization with biases, for ratings and for implicit feedback."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import ParameterError
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.bpr import bpr_fold_in
from tastemap.kernels.mf_fold_in import mse_fold_in
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.matrix_factorization_fold_in import huber_fold_in, ranking_fold_in
from tastemap.retrieval.matrix_factorization_softmax import SoftmaxTrainer
from tastemap.retrieval.matrix_factorization_torch import TorchTrainer
from tastemap.retrieval.matrix_factorization_training import (
    KernelTrainer,
    Settings,
    TableTrainer,
)
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.retrieval.parts.rating_vectors import RatingVectors, rating_scale
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["MatrixFactorization"]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "mse": {"epochs": 12, "learning_rate": 0.05, "regularization": 0.04},
    "huber": {"epochs": 20, "learning_rate": 0.05, "regularization": 0.04},
    "bpr": {"epochs": 100, "learning_rate": 0.1, "regularization": 0.01, "negatives": 1},
    "bce": {"epochs": 20, "learning_rate": 0.03, "regularization": 0.05, "negatives": 4},
    "softmax": {
        "epochs": 30, "learning_rate": 0.05, "regularization": 0.15, "batch_size": 128
    },
    "sampled_softmax": {
        "epochs": 30, "learning_rate": 0.03, "regularization": 0.15, "batch_size": 128,
        "negatives": 256,
    },
}  # fmt: skip
_OTHERWISE = {"batch_size": 4096, "negatives": 1}


def _per_loss(name: str) -> str:
    """What a hyper-parameter is where it is not given, in words for its help."""
    values = {loss: own[name] for loss, own in _DEFAULTS.items() if name in own}
    shown = ", ".join(f"{value:g} ({loss})" for loss, value in values.items())
    return f"none for {shown}"


class MatrixFactorization(PretrainedItems, RatingVectors):
    """Users and items as vectors whose dot product is the rating, or the order of preference.

        r̂_ui = mean + b_u + c_i + p_u · q_i

    `loss` says what is minimised, with one penalty for all: once for each event, the squares of the
    parameters it touches.

    - "mse" (Koren et al. 2009) and "huber", which large errors hurt less: the error of ratings.
    - "bpr" (Rendle et al. 2009): chosen items stand behind others. As in all that follow, mean is
      0, and so is b_u but for "bce", since they do not change the order.
    - "bce" (He et al. 2017): the probability σ(r̂) that an item was chosen rather than drawn.
    - "softmax": the probability of each chosen item among all, e^r̂ / Σ_j e^r̂_uj; the normalizer is
      computed in tiles. "sampled_softmax" estimates it from `negatives` (Bengio & Senécal 2008),
      which pays where there are very many items.

    With `propensity_exponent` γ > 0 a chosen item i weighs 1 / (n_i / max n)^γ, at most 10, since
    popular items get chosen for being seen (Saito et al. 2020). Recommendations are then less
    popular and of more kinds, and so they are with negatives drawn by popularity, whose scores fall
    by ln q; for the sampled softmax, which is corrected for q, that changes nothing.

    On the CPU compiled kernels train "mse" and plain "bpr", and torch the others and on other
    devices: by SGD, but "bce" and the softmaxes by Adam.

    A user whose history has not changed since training has the vector learned in training. To every
    other history a vector is fitted with the items held fixed: for "mse" by ridge regression, which
    is exact, for "huber" by some of them in turn, for plain "bpr" by the same steps as in training,
    and for the others by 20 steps of Adam on what training minimised.

    Attributes:
        user_vectors: float32 [user rows, factors + 2], (p_u, 1, mean + b_u).
        vectors: float32 [item rows, factors + 2], (q_i, c_i, 1).
        ratings: float32 [3], the mean, lowest and highest rating in the training data.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "matrixfactorization"
    paper: ClassVar[str] = (
        "Koren, Bell & Volinsky 2009, Matrix Factorization Techniques for Recommender Systems "
        "(IEEE Computer); Rendle et al. 2009, BPR: Bayesian Personalized Ranking from Implicit "
        "Feedback (UAI); Saito et al. 2020, Unbiased Recommender Learning from "
        "Missing-Not-At-Random Implicit Feedback (WSDM)"
    )

    loss: Literal["mse", "huber", "bpr", "bce", "softmax", "sampled_softmax"] = hyperparameter(
        default="mse",
        help="what is minimised: the error of ratings (mse, huber), or of which items are chosen",
    )
    factors: int = hyperparameter(
        default=64, help="length of the vectors, without biases", ge=1, log=True
    )
    epochs: int | None = hyperparameter(
        default=None,
        help=f"passes over the events; {_per_loss('epochs')}",
        ge=1,
        log=True,
        tuned=False,
    )
    learning_rate: float | None = hyperparameter(
        default=None,
        help=f"first step size, falling to 0; {_per_loss('learning_rate')}",
        gt=0,
        log=True,
        search=(0.003, 0.3),
    )
    regularization: float | None = hyperparameter(
        default=None,
        help=f"penalty on the vectors; {_per_loss('regularization')}",
        ge=0,
        log=True,
        search=(0.0003, 0.1),
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="penalty on the biases", ge=0, log=True
    )
    negatives: int | None = hyperparameter(
        default=None,
        help="items drawn for each event (sampled_softmax: for each user in a step); "
        + _per_loss("negatives"),
        ge=1,
        log=True,
        tuned=False,
    )
    sampler: Literal["uniform", "popularity", "in_batch", "hard"] = hyperparameter(
        default="uniform",
        help="how negatives are drawn for bpr, bce and sampled_softmax; hard: the highest "
        "scored of 16 times as many, not for the softmax",
        tuned=False,
    )
    popularity_exponent: float = hyperparameter(
        default=0.75,
        help="with sampler popularity: items are drawn by the number of their events to this power",
        ge=0,
        tuned=False,
    )
    propensity_exponent: float = hyperparameter(
        default=0.0,
        help="how much more a chosen item counts the less popular it is, 0 for not at all; for all "
        "losses but those of ratings",
        ge=0,
        le=2,
        tuned=False,
    )
    batch_size: int | None = hyperparameter(
        default=None,
        help="events in a step where torch trains, for the softmaxes users; "
        + _per_loss("batch_size"),
        ge=1,
        log=True,
        tuned=False,
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._refuse_what_does_nothing()

    def _refuse_what_does_nothing(self) -> None:
        """Raises ParameterError for options that the loss does not use."""
        draws = self.loss in ("bpr", "bce", "sampled_softmax")
        if not draws and (self.negatives is not None or self.sampler != "uniform"):
            raise ParameterError(
                f"MatrixFactorization: loss={self.loss!r} draws no negatives; leave out negatives "
                "and sampler, or use 'bpr', 'bce' or 'sampled_softmax'"
            )
        if self.loss == "sampled_softmax" and self.sampler == "hard":
            raise ParameterError(
                "MatrixFactorization: loss='sampled_softmax' needs the probability of each draw, "
                "which for hard negatives takes the scores of all items; use loss='softmax', which "
                "takes no more, or another sampler"
            )
        if self.loss in ("mse", "huber") and self.propensity_exponent > 0:
            raise ParameterError(
                f"MatrixFactorization: propensity_exponent weighs what was chosen, and "
                f"loss={self.loss!r} is about ratings; set it to 0"
            )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        settings = self._settings()
        self.ratings: NDArray[np.float32] = rating_scale(dataset.histories)
        if not settings.of_ratings:
            self.ratings[0] = 0
        device = run.kernel_device() if settings.compiled else run.torch_device()
        trainer = self._trainer(settings, dataset.histories, device)
        self._fit_in_epochs(
            trainer,
            settings.epochs,
            validation,
            run,
            monitor="rmse" if settings.of_ratings else "ndcg@10",
            install=self._set_vectors,
            resolved=asdict(settings),
        )

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["Q"]]

    def _trainer(self, settings: Settings, histories: Histories, device: str) -> TableTrainer:
        n_items, mean = len(self.items), float(self.ratings[0])
        if settings.loss in ("softmax", "sampled_softmax"):
            return SoftmaxTrainer(settings, histories, n_items, device)
        if settings.compiled and device == "cpu":
            return KernelTrainer(settings, histories, n_items, mean)
        return TorchTrainer(settings, histories, n_items, mean, device)

    def _settings(self) -> Settings:
        """The hyper-parameters of training, with the loss's own where none are given."""
        given = {field.name: getattr(self, field.name) for field in fields(Settings)}
        own = {**_OTHERWISE, **_DEFAULTS[self.loss]}
        return Settings(**{k: own[k] if v is None else v for k, v in given.items()})

    def _set_vectors(self, state: State) -> None:
        self._set_user_vectors(state["P"], state["b"])
        self._set_item_vectors(state["Q"], state["c"])

    # -- answers --------------------------------------------------------------------------------

    def _fold_in(self, h: Histories) -> NDArray[np.float32]:
        """(p_u, b_u) of histories without unknown items, float32 [B, factors + 1]."""
        s = self._settings()
        Q, c = self.item_factors, self.item_biases
        # Not 0, since without penalties there may be more than one minimum.
        penalties = max(s.regularization, 1e-6), max(s.bias_regularization, 1e-6)
        values = h.values - self.ratings[0]
        if self.loss == "mse":
            found: NDArray[np.float32] = mse_fold_in(h.offsets, h.items, values, Q, c, *penalties)
            return found
        if self.loss == "huber":
            return huber_fold_in(h, values, Q, c, *penalties)
        if s.compiled:
            rate, penalty = np.float32(s.learning_rate), np.float32(s.regularization)
            rates = rate, penalty, 1, s.epochs, np.uint64(s.seed)
            P = bpr_fold_in(h.offsets, h.items, Q, c, *rates)
            return np.column_stack([P, np.zeros(len(P), np.float32)])
        learned = np.delete(self.user_vectors[self.histories.counts > 0], -2, axis=1)
        return ranking_fold_in(h, s, learned, Q, c, self.data.item_counts)

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        if self.loss not in ("mse", "huber"):
            # That it ranks but does not rate.
            return VectorRetriever.predict_pairs(self, queries, query_rows, items, times)
        return super().predict_pairs(queries, query_rows, items, times)
