"""Alternating least squares for ratings."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, group_by_row
from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.mf_fold_in import mse_fold_in
from tastemap.kernels.ridge_torch import mse_fold_in_torch
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.rating_training import TableTrainer
from tastemap.retrieval.parts.rating_vectors import RatingVectors, known_ratings
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["ExplicitALS"]

# Of the items' first, random vectors.
_INITIAL_DEVIATION = 0.1


class ExplicitALS(TrainedInEpochs, RatingVectors):
    """Ratings as biases and a dot product, each side solved exactly while the other is held fixed.

        Σ (r_ui - μ - b_u - c_i - p_u · q_i)²
            + λ (Σ_u n_u |p_u|² + Σ_i n_i |q_i|²) + λ_b (Σ_u n_u b_u² + Σ_i n_i c_i²)

    ALS with weighted-λ-regularisation (Zhou et al. 2008, section 3.2: the penalty of a user or an
    item grows with the number of its ratings n), with biases as further coordinates of the vectors
    (Koren et al. 2009). One iteration solves all users, then all items; there is no step size. A
    history is folded in by the same solution as in training.

    Attributes:
        user_vectors, vectors, ratings: see `RatingVectors`.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "explicitals"
    paper: ClassVar[str] = (
        "Zhou, Wilkinson, Schreiber & Pan 2008, Large-Scale Parallel Collaborative Filtering for "
        "the Netflix Prize (AAIM)"
    )

    factors: int = hyperparameter(default=64, help="length of the vectors", ge=1, le=512, log=True)
    iterations: int = hyperparameter(
        default=15, help="rounds of solving users and items", ge=1, log=True
    )
    regularization: float = hyperparameter(
        default=0.12, help="λ, penalty on the vectors, for each rating", gt=0, log=True
    )
    bias_regularization: float = hyperparameter(
        default=0.03, help="λ_b, penalty on the biases, for each rating", gt=0, log=True
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self._set_scale(dataset.histories)
        self._fit_in_epochs(
            _Trainer(self, known_ratings(dataset.histories), run.torch_device()),
            self.iterations,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )

    def _install(self, state: State) -> None:
        self._set_user_vectors(state["P"], state["b"])
        self._set_item_vectors(state["Q"], state["c"])

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        h, values = histories, histories.values - self.ratings[0]
        penalties = self.regularization, self.bias_regularization
        folded: NDArray[np.float32] = mse_fold_in(
            h.offsets, h.items, values, self.item_factors, self.item_biases, *penalties
        )
        return folded


class _Trainer(TableTrainer):
    """Solves users, then items, on a device."""

    def __init__(self, model: ExplicitALS, ratings: Histories, device: str) -> None:
        rng = np.random.default_rng([model.seed, 0])
        n_items, k = len(model.items), model.factors
        Q = rng.standard_normal((n_items, k), np.float32) * np.float32(_INITIAL_DEVIATION)
        values = ratings.values - model.ratings[0]
        self.by_user = ratings.offsets, ratings.items, values
        users = ratings.rows_of_events()
        offsets, order = group_by_row(ratings.items, ratings.times, n_items)
        self.by_item = offsets, users[order], values[order]
        # Items begin with their regularised mean, users with nothing: they are solved first.
        n = np.diff(offsets) * (1 + model.bias_regularization)
        c = np.bincount(ratings.items, values, minlength=n_items) / np.maximum(n, 1)
        Q[n == 0] = 0
        super().__init__(
            {
                "P": np.zeros((len(ratings), k), np.float32),
                "b": np.zeros(len(ratings), np.float32),
                "Q": Q,
                "c": c.astype(np.float32),
            }
        )
        self.penalties = model.regularization, model.bias_regularization
        self.device = device

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        t = self.tables
        self._solve(self.by_user, (t["Q"], t["c"]), (t["P"], t["b"]))
        self._solve(self.by_item, (t["P"], t["b"]), (t["Q"], t["c"]))
        return {"train_rmse": self._error()}

    def _solve(
        self,
        ratings: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
        fixed: tuple[NDArray[np.float32], NDArray[np.float32]],
        solved: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        if self.device == "cpu":
            found = mse_fold_in(*ratings, *fixed, *self.penalties)
        else:
            found = mse_fold_in_torch(*ratings, *fixed, *self.penalties, self.device)
        solved[0][...], solved[1][...] = found[:, :-1], found[:, -1]

    def _error(self) -> float:
        offsets, items, values = self.by_user
        t, total = self.tables, 0.0
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        for start in range(0, len(items), 1 << 16):
            part = slice(start, start + (1 << 16))
            u, i = rows[part], items[part]
            rated = t["b"][u] + t["c"][i] + (t["P"][u] * t["Q"][i]).sum(axis=1)
            total += float(np.square(values[part] - rated, dtype=np.float64).sum())
        return math.sqrt(total / max(len(items), 1))
