"""Matrix factorization of ratings whose factors are never negative."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, group_by_row
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.nmf import nmf_half_step, nmf_half_step_torch
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.rating_training import TableTrainer
from tastemap.retrieval.parts.rating_vectors import RatingVectors, known_ratings
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer
from tastemap.training.run import Run

__all__ = ["NonNegativeMF"]

# Rounds in which a history is folded in, from the mean user on.
_FOLD_IN = 30


class NonNegativeMF(TrainedInEpochs, RatingVectors):
    """Ratings as sums of parts that only add up: r̂_ui = p_u · q_i with p, q ≥ 0.

    Minimises Σ (r_ui - p_u · q_i)² + λ (Σ_u n_u |p_u|² + Σ_i n_i |q_i|²) over the observed ratings
    by multiplicative updates: those of Lee & Seung (2001), restricted to the observed and penalised
    as of Luo et al. (2014, equation 12), all users and then all items. They need no step size, and
    factors that begin positive stay non-negative.

    Users without ratings rate like the mean user, items without ratings are rated like the mean
    item. A history is folded in by the same updates with the items held fixed.

    Attributes:
        user_vectors, vectors, ratings: see `RatingVectors`; all biases and the mean are 0 here.
        mean_user: float32 [factors], the mean p_u of the users with ratings.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "nonnegativemf"
    paper: ClassVar[str] = (
        "Lee & Seung 2001, Algorithms for Non-negative Matrix Factorization (NIPS); Luo, Zhou, Xia "
        "& Zhu 2014, An Efficient Non-Negative Matrix-Factorization-Based Approach to "
        "Collaborative Filtering for Recommender Systems (IEEE TII)"
    )
    learned: ClassVar[tuple[str, ...]] = (*RatingVectors.learned, "mean_user")

    factors: int = hyperparameter(default=32, help="length of the vectors", ge=1, log=True)
    epochs: int = hyperparameter(
        default=150, help="updates of users and items", ge=1, log=True, tuned=False
    )
    regularization: float = hyperparameter(
        default=0.1, help="λ, penalty on the vectors, for each rating", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=1 << 20,
        help="ratings at a time where torch trains, that is on a GPU",
        ge=1,
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self._set_scale(dataset.histories)
        if self.ratings[1] < 0:
            raise DataError(
                f"NonNegativeMF needs values of at least 0, and the lowest is {self.ratings[1]:g}",
                remedy="Shift or filter the values",
            )
        self._fit_in_epochs(
            self._trainer(run.torch_device()),
            self.epochs,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )

    def _trainer(self, device: str) -> _KernelTrainer | _TorchTrainer:
        ratings = known_ratings(self.histories)
        tables = self._tables(ratings)
        if device == "cpu":
            return _KernelTrainer(self, tables, ratings)
        return _TorchTrainer(self, tables, ratings, device)

    def _tables(self, ratings: Histories) -> State:
        """Random factors from 0.5 to 1.5 of what would make every rating the mean one."""
        rng = np.random.default_rng([self.seed, 0])
        even = math.sqrt(max(float(ratings.values.mean(dtype=np.float64)), 1e-6) / self.factors)

        def start(rows: int) -> NDArray[np.float32]:
            drawn = rng.random((rows, self.factors), np.float32) + np.float32(0.5)
            return drawn * np.float32(even)

        return {"P": start(len(ratings)), "Q": start(len(self.items))}

    def _install(self, state: State) -> None:
        h = known_ratings(self.histories)
        P, mean = _with_mean(state["P"], h.counts > 0)
        self.mean_user: NDArray[np.float32] = mean
        Q, _ = _with_mean(state["Q"], np.bincount(h.items, minlength=len(self.items)) > 0)
        self._set_item_vectors(Q, np.zeros(len(Q), np.float32))
        self.user_vectors = _without_biases(P)

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        return _without_biases(super().encode_queries(queries)[:, :-2])

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        h = histories
        P = np.repeat(self.mean_user[None], len(h), axis=0)
        penalty = np.float32(self.regularization)
        for _ in range(_FOLD_IN):
            nmf_half_step(h.offsets, h.items, h.values, P, self.item_factors, penalty)
        return np.column_stack([P, np.zeros(len(P), np.float32)])


class _KernelTrainer(TableTrainer):
    """Compiled updates."""

    def __init__(self, model: NonNegativeMF, tables: State, ratings: Histories) -> None:
        super().__init__(tables)
        self.penalty = np.float32(model.regularization)
        self.by_user = ratings.offsets, ratings.items, ratings.values
        offsets, order = group_by_row(ratings.items, ratings.times, len(tables["Q"]))
        self.by_item = offsets, ratings.rows_of_events()[order], ratings.values[order]

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        P, Q = self.tables["P"], self.tables["Q"]
        total = nmf_half_step(*self.by_user, P, Q, self.penalty)
        nmf_half_step(*self.by_item, Q, P, self.penalty)
        return {"train_rmse": math.sqrt(total / max(len(self.by_user[1]), 1))}


class _TorchTrainer(ModuleTrainer):
    """The same updates on any device."""

    def __init__(
        self, model: NonNegativeMF, tables: State, ratings: Histories, device: str
    ) -> None:
        factors = {name: torch.from_numpy(table.copy()) for name, table in tables.items()}
        network = torch.nn.ParameterDict(factors).requires_grad_(False).to(device)
        super().__init__(network)
        self.factors: Any = network
        columns = ratings.rows_of_events(), ratings.items
        self.users, self.items = (
            torch.from_numpy(column.astype(np.int64)).to(device) for column in columns
        )
        self.values = torch.from_numpy(ratings.values).to(device)
        self.settings = model.regularization, model.batch_size

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        P, Q = self.factors["P"], self.factors["Q"]
        total = nmf_half_step_torch(self.users, self.items, self.values, P, Q, *self.settings)
        nmf_half_step_torch(self.items, self.users, self.values, Q, P, *self.settings)
        return {"train_rmse": math.sqrt(total.item() / max(len(self.values), 1))}


def _with_mean(
    factors: NDArray[np.float32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors in which rows that are not known are the mean of those that are, and that mean."""
    mean = factors[known].mean(axis=0)
    return np.where(known[:, None], factors, mean), mean


def _without_biases(P: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.column_stack([P, np.ones(len(P), np.float32), np.zeros(len(P), np.float32)])
