"""SVD++: matrix factorization of ratings that also learns from which items were rated at all."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.mf_fold_in import mse_fold_in
from tastemap.kernels.svdpp import block_size_of, implicit_sums, svdpp_epoch
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.rating_training import NetworkTrainer, RatingNetwork, TableTrainer
from tastemap.retrieval.parts.rating_vectors import RatingVectors, known_ratings
from tastemap.training.loop import State
from tastemap.training.run import Run
from tastemap.training.schedule import falling

__all__ = ["SVDPP"]

# Small, so that a factor grows only where the data ask for it.
_INITIAL_DEVIATION = 0.02


class SVDPP(TrainedInEpochs, RatingVectors):
    """A user's taste is what they rated how (p_u), and what they rated at all (the y_j).

        r̂_ui = μ + b_u + c_i + q_i · (p_u + |N(u)|^-½ Σ_{j in N(u)} y_j)

    Koren 2008, equation 15, with N(u) all items that u has rated, minimised by SGD as of section 4;
    each step shrinks what it touches by `regularization` (biases by `bias_regularization`). On the
    CPU compiled epochs train (`kernels/svdpp.py`), elsewhere torch.

    A new history brings its sum of y_j along; p_u and b_u are then the solution of the ridge
    regression that is left.

    Attributes:
        user_vectors, vectors, ratings: see `RatingVectors`; for p_u there stands the whole taste,
            with the sum over N(u).
        implicit_factors: float32 [item rows, factors], y_j.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "svdpp"
    paper: ClassVar[str] = (
        "Koren 2008, Factorization Meets the Neighborhood: a Multifaceted Collaborative Filtering "
        "Model (KDD)"
    )
    learned: ClassVar[tuple[str, ...]] = (*RatingVectors.learned, "implicit_factors")

    factors: int = hyperparameter(default=128, help="length of the vectors", ge=1, log=True)
    epochs: int = hyperparameter(
        default=30, help="passes over the ratings", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.015, help="first step size, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.04, help="penalty on the vectors, for each rating", gt=0, log=True
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="penalty on the biases, for each rating", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=4096,
        help="ratings in a step where torch trains, that is on a GPU",
        ge=1,
        log=True,
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self._set_scale(dataset.histories)
        self._fit_in_epochs(
            self._trainer(run.kernel_device()),
            self.epochs,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )

    def _trainer(self, device: str) -> TableTrainer | NetworkTrainer:
        tables, ratings = self._tables(), known_ratings(self.histories)
        if device == "cpu":
            return _KernelTrainer(self, tables, ratings)
        network = _Network(self, tables, ratings).to(device)
        values = ratings.values - self.ratings[0]
        return NetworkTrainer(network, values, self.batch_size, self.learning_rate, self.epochs)

    def _tables(self) -> State:
        """P, Q, Y [rows, factors] and b, c [rows] to begin with; the y_j begin at 0."""
        rng = np.random.default_rng([self.seed, 0])
        h, n_items = self.histories, len(self.items)
        P = rng.standard_normal((len(h), self.factors), np.float32) * _INITIAL_DEVIATION
        Q = rng.standard_normal((n_items, self.factors), np.float32) * _INITIAL_DEVIATION
        P[h.counts == 0], Q[0] = 0, 0
        b, c = np.zeros(len(P), np.float32), np.zeros(n_items, np.float32)
        return {"P": P, "Q": Q, "Y": np.zeros_like(Q), "b": b, "c": c}

    def _install(self, state: State) -> None:
        h = known_ratings(self.histories)
        self.implicit_factors: NDArray[np.float32] = state["Y"]
        z = implicit_sums(h.offsets, h.items, state["Y"])
        self._set_user_vectors(state["P"] + z, state["b"])
        self._set_item_vectors(state["Q"], state["c"])

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        h, Q, c = histories, self.item_factors, self.item_biases
        z = implicit_sums(h.offsets, h.items, self.implicit_factors)
        left = h.values - self.ratings[0] - (z[h.rows_of_events()] * Q[h.items]).sum(axis=1)
        penalties = self.regularization, self.bias_regularization
        folded: NDArray[np.float32] = mse_fold_in(h.offsets, h.items, left, Q, c, *penalties)
        folded[:, :-1] += z
        return folded


class _KernelTrainer(TableTrainer):
    """Compiled epochs, the users in a new order in each."""

    def __init__(self, model: SVDPP, tables: State, ratings: Histories) -> None:
        super().__init__(tables)
        self.model, self.ratings = model, ratings
        self.values = ratings.values - model.ratings[0]
        self.users = np.flatnonzero(ratings.counts)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        h, m, t = self.ratings, self.model, self.tables
        order = rng.permutation(self.users)
        block = block_size_of(len(order))
        of_blocks = np.add.reduceat(h.counts[order], np.arange(0, len(order), block))
        rate, decay, bias_decay = (
            np.float32(x)
            for x in (
                falling(m.learning_rate, epoch, m.epochs),
                m.regularization,
                m.bias_regularization,
            )
        )
        total = svdpp_epoch(
            order, block, of_blocks.max(), h.offsets, h.items, self.values,
            t["P"], t["Q"], t["Y"], t["b"], t["c"], rate, decay, bias_decay,
        )  # fmt: skip
        return {"train_rmse": math.sqrt(total / len(self.values))}


class _Network(RatingNetwork):
    """SVD++ of many ratings at once."""

    P: torch.Tensor
    Q: torch.Tensor
    Y: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    users: torch.Tensor
    items: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, model: SVDPP, tables: State, ratings: Histories) -> None:
        super().__init__(tables)
        self.decay, self.bias_decay = model.regularization, model.bias_regularization
        for name, column in (
            ("users", ratings.rows_of_events()),
            ("items", ratings.items),
            ("offsets", ratings.offsets),
        ):
            tensor = torch.from_numpy(column.astype(np.int64))
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        users, items = self.users[events], self.items[events]
        p, q = self.P[users], self.Q[items]
        b, c = self.b[users], self.c[items]
        z, implicit_penalty = implicit_part(users, self.offsets, self.items, self.Y)
        vectors = p.square().sum() + q.square().sum() + implicit_penalty
        biases = b.square().sum() + c.square().sum()
        predicted = b + c + (q * (p + z)).sum(dim=1)
        return predicted, self.decay * vectors + self.bias_decay * biases


def implicit_part(
    users: torch.Tensor, offsets: torch.Tensor, items: torch.Tensor, Y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """z_u of some users, and what of the y_j is penalised: |y_j|² for each j in N(u), each time
    that u is there.

    Args:
        users: int64 [n], user rows.
        offsets, items: int64 [user rows + 1] and [m], N(u) by user.
        Y: float32 [item rows, k].

    Returns:
        float32 [n, k] and a scalar.
    """
    who, place, times = torch.unique(users, return_inverse=True, return_counts=True)
    counts = offsets[who + 1] - offsets[who]
    starts = counts.cumsum(0) - counts
    index = torch.arange(int(counts.sum()), device=users.device)
    rated = items[index + torch.repeat_interleave(offsets[who] - starts, counts)]
    weights = torch.repeat_interleave(counts.clamp(min=1).rsqrt(), counts)
    z = F.embedding_bag(rated, Y, starts, mode="sum", per_sample_weights=weights)
    touched = torch.zeros(len(Y), device=Y.device)
    touched.index_add_(0, rated, torch.repeat_interleave(times, counts).to(Y.dtype))
    return z[place], (touched * Y.square().sum(dim=1)).sum()
