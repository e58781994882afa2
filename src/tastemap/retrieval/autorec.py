"""AutoRec: an autoencoder that fills in the ratings of an item, or of a user."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch.optim.lr_scheduler import CosineAnnealingLR

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.autorec import (
    encode,
    gradients_by_column,
    gradients_by_row,
    ridge_fold_in,
)
from tastemap.retrieval.base import cosines
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.rating_vectors import RatingVectors, rating_scale
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["AutoRec"]

_INITIAL_DEVIATION = 0.01


class AutoRec(TrainedInEpochs, RatingVectors):
    """A hidden layer that rebuilds the observed ratings r of one item from themselves (I-AutoRec),
    or those of one user (U-AutoRec):

        h(r) = W σ(V r + μ) + b,   min Σ_rows Σ_observed (r - h(r))² + λ (|W|² + |V|²)

    Errors are counted, and gradients go, where there is a rating (equation 2). The hidden layer is
    a vector, and so is what W holds of each user or item: r̂ is their dot product. What the paper
    trains by RProp over all rows is trained here by Adam on batches, with a falling rate.

    Based on items, a user whose history has not changed since training has the vector W_u learned
    in training; to every other history one is fitted with the items' hidden layers held fixed,
    a ridge regression with the same λ. Based on users, a history is simply encoded.

    Attributes:
        user_vectors, vectors, ratings: see `RatingVectors`. Based on items, vectors hold σ(V r + μ)
            and user_vectors W and b; based on users, vectors hold W and b.
        encoder: float32 [item rows + 1, hidden_units] based on users, V and below it μ; else empty.
    """

    name: ClassVar[str] = "autorec"
    paper: ClassVar[str] = (
        "Sedhain, Menon, Sanner & Xie 2015, AutoRec: Autoencoders Meet Collaborative Filtering "
        "(WWW)"
    )
    learned: ClassVar[tuple[str, ...]] = (*RatingVectors.learned, "encoder")

    based_on: Literal["item", "user"] = hyperparameter(
        default="item", help="whose ratings are rebuilt: an item's or a user's"
    )
    hidden_units: int = hyperparameter(
        default=300, help="width of the hidden layer", ge=1, log=True
    )
    regularization: float = hyperparameter(
        default=60.0, help="λ, the L2 penalty on the weights", gt=0, log=True
    )
    epochs: int = hyperparameter(
        default=20, help="passes over the ratings", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.001, help="first step size of Adam, falling to 0 by half a cosine", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=64, help="items, or users, in a step", ge=1, log=True, tuned=False
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self.ratings: NDArray[np.float32] = rating_scale(dataset.histories)
        of_users = self._observed(dataset.histories)
        self._rows: csr_array = of_users if self.based_on == "user" else csr_array(of_users.T)
        self._rows.sort_indices()
        trainer = _Trainer(self, self._rows, float(self.ratings[0]), run.torch_device())
        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )
        del self._rows

    def _observed(self, histories: Histories) -> csr_array:
        """The ratings of histories [B], [B, item rows]; of a pair rated twice, their mean."""
        ratings = histories.to_csr(len(self.data.items), values=True)
        known = histories.known(ratings.shape[1])
        if known.n_events > ratings.nnz:
            ones = np.ones(known.n_events, np.float32)
            # Copies, since summing duplicates sorts the arrays in place.
            parts = (ones, known.items.copy(), known.offsets.copy())
            times = csr_array(parts, shape=ratings.shape)
            times.sum_duplicates()
            ratings.data /= times.data
        return ratings

    def _install(self, state: State) -> None:
        hidden = encode(*_arrays(self._rows), state["V"], state["mu"])
        hidden[np.diff(self._rows.indptr) == 0] = 0
        if self.based_on == "item":
            self._set_user_vectors(state["W"], state["b"] - self.ratings[0])
            self._set_item_vectors(hidden, np.zeros(len(hidden), np.float32))
            self.encoder: NDArray[np.float32] = np.zeros((0, self.hidden_units), np.float32)
        else:
            # An item's b takes the place of the mean, which `RatingVectors` adds for the user.
            self._set_user_vectors(hidden, np.zeros(len(hidden), np.float32))
            self._set_item_vectors(state["W"], state["b"] - self.ratings[0])
            self.encoder = np.vstack([state["V"], state["mu"]])

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        observed, k = self._observed(histories), self.hidden_units
        if self.based_on == "user":
            folded = np.zeros((len(histories), k + 1), np.float32)
            folded[:, :k] = encode(*_arrays(observed), self.encoder[:-1], self.encoder[-1])
            return folded
        Z = np.pad(np.column_stack([self.item_factors, np.ones_like(self.item_biases)]),
                   ((0, 0), (0, -(k + 1) % 8)))  # fmt: skip
        observed.data -= self.ratings[0]
        w = ridge_fold_in(*_arrays(observed), Z, k, np.float32(self.regularization))
        return np.ascontiguousarray(w[:, : k + 1])

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Hidden units are all above 0: what tells items apart is how they differ from the mean.
        rated = np.abs(self.item_factors).sum(axis=1) > 0
        mean = self.item_factors[rated].mean(axis=0)
        return cosines(np.where(rated[:, None], self.item_factors - mean, 0), items)


class _Trainer:
    """Adam on batches of rows: on the CPU with compiled gradients, in time for what was
    observed, elsewhere with dense ones."""

    def __init__(self, model: AutoRec, rows: csr_array, mean: float, device: str) -> None:
        self.rows, self.device = rows, device
        self.batch_size, self.penalty = model.batch_size, model.regularization
        rng = np.random.default_rng([model.seed, 0])
        n_columns, k = rows.shape[1], model.hidden_units

        def weights() -> torch.Tensor:
            drawn = rng.standard_normal((n_columns, k), np.float32) * np.float32(_INITIAL_DEVIATION)
            return torch.from_numpy(drawn).to(device)

        self.parameters = {
            "V": weights(),
            "W": weights(),
            "mu": torch.zeros(k, device=device),
            "b": torch.full((n_columns,), mean, device=device),
        }
        self.gradients = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = self.gradients[name]
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=model.learning_rate)
        self.schedule = CosineAnnealingLR(self.optimizer, model.epochs)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        used = np.flatnonzero(np.diff(self.rows.indptr))
        order, squares = rng.permutation(used), 0.0
        for start in range(0, len(order), self.batch_size):
            batch = csr_array(self.rows[order[start : start + self.batch_size]])
            step = self._compiled_gradients if self.device == "cpu" else self._dense_gradients
            squares += step(batch)
            share = self.penalty * batch.shape[0] / len(order)
            for name in "VW":
                self.gradients[name].add_(self.parameters[name], alpha=share)
            self.optimizer.step()
        self.schedule.step()
        return {"train_rmse": math.sqrt(squares / max(self.rows.nnz, 1))}

    def _compiled_gradients(self, batch: csr_array) -> float:
        """Sets the gradients of half the squared error of a batch, and gives that error whole."""
        p = {name: parameter.numpy() for name, parameter in self.parameters.items()}
        g = {name: gradient.numpy() for name, gradient in self.gradients.items()}
        offsets, columns, values = _arrays(batch)
        hidden = encode(offsets, columns, values, p["V"], p["mu"])
        residuals = np.empty_like(values)
        D = gradients_by_row(offsets, columns, values, hidden, p["W"], p["b"], residuals)
        places = np.arange(batch.nnz, dtype=np.int32)
        by_column = csr_array((places, batch.indices, batch.indptr), shape=batch.shape).tocsc()
        gradients_by_column(
            by_column.indptr.astype(np.int64), by_column.indices.astype(np.int32), by_column.data,
            values, residuals, hidden, D, g["V"], g["W"], g["b"],
        )  # fmt: skip
        g["mu"][:] = D.sum(axis=0)
        return float(np.square(residuals, dtype=np.float64).sum())

    def _dense_gradients(self, batch: csr_array) -> float:
        """As `_compiled_gradients`, by torch on any device."""
        given = torch.from_numpy(batch.toarray()).to(self.device)
        places = csr_array((np.ones(batch.nnz, np.float32), batch.indices, batch.indptr),
                           shape=batch.shape).toarray()  # fmt: skip
        observed = torch.from_numpy(places).to(self.device)
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters.items()}
        hidden = torch.sigmoid(given @ leaves["V"] + leaves["mu"])
        errors = (hidden @ leaves["W"].T + leaves["b"] - given) * observed
        squares = errors.square().sum()
        gradients = torch.autograd.grad(squares / 2, list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            self.gradients[name].copy_(gradient)
        return float(squares.item())

    def state(self) -> State:
        return {name: p.cpu().numpy().copy() for name, p in self.parameters.items()}

    def restore(self, state: State) -> None:
        for name, array in state.items():
            self.parameters[name].copy_(torch.from_numpy(array))


def _arrays(matrix: csr_array) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Offsets, columns and values in the types of the kernels."""
    return (
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
    )
