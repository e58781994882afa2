"""Funk's SVD: factors of ratings trained one after the other."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels import mf
from tastemap.kernels.funk_svd import funk_add, funk_epoch, funk_fold_in
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.rating_training import NetworkTrainer, RatingNetwork, TableTrainer
from tastemap.retrieval.parts.rating_vectors import RatingVectors, known_ratings
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["FunkSVD"]

# So many ratings of the mean stand beside those of an item, and of a user, in their averages.
_BLEND = 25
# What all factors begin with, give or take half of it by chance: from equal values, groups of
# users with opposite tastes would never part.
_START = 0.1


class FunkSVD(TrainedInEpochs, RatingVectors):
    """Ratings as a baseline and factors, each trained on what the ones before it leave.

        r̂_ui = clip(… clip(clip(base_ui + p_u1 q_i1) + p_u2 q_i2) …)

    As Simon Funk wrote it down in 2006: the baseline is the item's average plus the user's mean
    offset from it, both blended with 25 ratings of the mean; then one factor at a time goes through
    all ratings for `epochs` passes of SGD on e² + λ (p² + q²) and is frozen; the estimate is
    brought back into the scale of ratings after every factor; while a factor trains, those to come
    count with the product they begin with. `predict` clips in the same way; lists are in order of
    the plain sum, in which nothing ties.

    A history is folded in likewise, one factor after the other, each by its formula. Early stopping
    counts factors: `patience` of them without a better one.

    Attributes:
        user_vectors, vectors, ratings: see `RatingVectors`.
        training: how the training went, right after `fit`; an epoch there is a factor.
    """

    name: ClassVar[str] = "funksvd"
    paper: ClassVar[str] = (
        "Funk 2006, Netflix Update: Try This at Home (sifter.org/~simon/journal/20061211.html)"
    )

    factors: int = hyperparameter(default=40, help="length of the vectors", ge=1, log=True)
    epochs: int = hyperparameter(
        default=30, help="passes over the ratings for each factor", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.01, help="step size, on a GPU the first one, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.04, help="λ, penalty on the factors, for each rating", gt=0, log=True
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
        ratings = known_ratings(dataset.histories)
        averages = self._item_averages(ratings)
        self._set_item_vectors(np.zeros((len(averages), self.factors), np.float32), averages)
        device = run.kernel_device()
        trainer = (_KernelTrainer if device == "cpu" else _TorchTrainer)(self, ratings, device)
        self._fit_in_epochs(
            trainer,
            self.factors,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )

    def _item_averages(self, h: Histories) -> NDArray[np.float32]:
        """Average of each item less the mean of all, blended with it, float32 [item rows]."""
        n = np.bincount(h.items, minlength=len(self.items))
        sums = np.bincount(h.items, h.values - self.ratings[0], minlength=len(self.items))
        return (sums / (n + _BLEND)).astype(np.float32)

    def _user_offsets(self, h: Histories) -> NDArray[np.float32]:
        """Mean distance of each history's ratings to the items' averages, blended with 0."""
        distance = h.values - self.ratings[0] - self.item_biases[h.items]
        sums = np.bincount(h.rows_of_events(), distance, minlength=len(h))
        return (sums / (h.counts + _BLEND)).astype(np.float32)

    def _baseline(self, h: Histories, offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        base: NDArray[np.float32] = (
            self.ratings[0] + self.item_biases[h.items] + offsets[h.rows_of_events()]
        )
        return base

    def _install(self, state: State) -> None:
        offsets = self._user_offsets(known_ratings(self.histories))
        self._set_user_vectors(state["P"], offsets)
        self._set_item_vectors(state["Q"], self.item_biases)

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        h, offsets = histories, self._user_offsets(histories)
        base, (_, low, high) = self._baseline(h, offsets), self.ratings
        penalty = np.float32(self.regularization)
        Q = self.item_factors
        P = funk_fold_in(h.offsets, h.items, h.values, base, Q, low, high, penalty)
        return np.column_stack([P, offsets])

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        users = self.encode_queries(queries)
        sums = users[query_rows, -1] + self.item_biases[items]
        P = np.ascontiguousarray(users[:, :-2])
        rows, (_, low, high) = np.asarray(query_rows, np.int64), self.ratings
        funk_add(sums, rows, items, P, self.item_factors, low, high)
        ratings: NDArray[np.float64] = np.clip(sums, low, high).astype(np.float64)
        return ratings


class _Trainer(TableTrainer):
    """One epoch trains one factor; a subclass says how."""

    def __init__(self, model: FunkSVD, ratings: Histories, device: str) -> None:
        shapes = len(ratings), len(model.items)
        super().__init__(
            {
                name: np.zeros((rows, model.factors), np.float32)
                for name, rows in zip("PQ", shapes, strict=True)
            }
        )
        self.model, self.device = model, device
        self.has_user = ratings.counts > 0
        self.has_item = np.bincount(ratings.items, minlength=shapes[1]) > 0
        _, self.low, self.high = model.ratings

    def start(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A factor's p and q to begin with; 0 for those without ratings."""

        def drawn(has: NDArray[np.bool_]) -> NDArray[np.float32]:
            around = rng.random(len(has), np.float32) + np.float32(0.5)
            return np.float32(_START) * around * has

        return drawn(self.has_user), drawn(self.has_item)

    def rest(self, factor: int) -> np.float32:
        """What the factors after this one are taken to add."""
        return np.float32((self.model.factors - factor - 1) * _START**2)


class _KernelTrainer(_Trainer):
    """Compiled passes."""

    def __init__(self, model: FunkSVD, ratings: Histories, device: str) -> None:
        super().__init__(model, ratings, device)
        numbers = np.arange(len(ratings.items), dtype=np.int64)
        sizes = len(ratings), len(model.items)
        rng = np.random.default_rng([model.seed, 0])
        # The strata carry the numbers of the ratings, so that all their columns can follow.
        users = ratings.rows_of_events()
        self.strata = mf.stratify(users, ratings.items, numbers, *sizes, rng)
        order = self.strata.values
        base = model._baseline(ratings, model._user_offsets(ratings))
        self.values, self.sums = ratings.values[order], base[order]
        np.clip(self.sums, self.low, self.high, out=self.sums)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        m, s, (p, q) = self.model, self.strata, self.start(rng)
        rate, decay = np.float32(m.learning_rate), np.float32(m.regularization)
        for _ in range(m.epochs):
            total = funk_epoch(
                s.users, s.items, self.values, self.sums, s.offsets, rng.permutation(mf.STRATA),
                p, q, self.rest(epoch), self.low, self.high, rate, decay,
            )  # fmt: skip
        funk_add(self.sums, s.users, s.items, p[:, None], q[:, None], self.low, self.high)
        self.tables["P"][:, epoch], self.tables["Q"][:, epoch] = p, q
        return {"train_rmse": math.sqrt(total / max(len(self.values), 1))}


class _TorchTrainer(_Trainer):
    """The same on any device: each factor is a network of its own."""

    def __init__(self, model: FunkSVD, ratings: Histories, device: str) -> None:
        super().__init__(model, ratings, device)
        self.users, self.items = ratings.rows_of_events().astype(np.int64), ratings.items
        self.values = ratings.values
        self.sums = model._baseline(ratings, model._user_offsets(ratings))
        np.clip(self.sums, self.low, self.high, out=self.sums)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        m, (p, q) = self.model, self.start(rng)
        network = _Factor(self, p, q, self.rest(epoch)).to(self.device)
        trainer = NetworkTrainer(network, self.values, m.batch_size, m.learning_rate, m.epochs)
        for number in range(m.epochs):
            measured = trainer.train_epoch(number, rng)
        p, q = trainer.state()["p"], trainer.state()["q"]
        funk_add(self.sums, self.users, self.items, p[:, None], q[:, None], self.low, self.high)
        self.tables["P"][:, epoch], self.tables["Q"][:, epoch] = p, q
        return measured


class _Factor(RatingNetwork):
    """One factor, beside the sums of the ones before."""

    p: torch.Tensor
    q: torch.Tensor
    users: torch.Tensor
    items: torch.Tensor
    sums: torch.Tensor

    def __init__(
        self,
        trainer: _TorchTrainer,
        p: NDArray[np.float32],
        q: NDArray[np.float32],
        rest: np.float32,
    ) -> None:
        super().__init__({"p": p, "q": q})
        self.scale, self.rest = (float(trainer.low), float(trainer.high)), float(rest)
        self.decay = trainer.model.regularization
        for name, column in (
            ("users", trainer.users),
            ("items", trainer.items.astype(np.int64)),
            ("sums", trainer.sums),
        ):
            self.register_buffer(name, torch.from_numpy(column), persistent=False)

    def forward(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p, q = self.p[self.users[events]], self.q[self.items[events]]
        rated = _clip(self.sums[events] + p * q, self.scale)
        penalty = self.decay * (p.square().sum() + q.square().sum())
        return _clip(rated + self.rest, self.scale), penalty


def _clip(ratings: torch.Tensor, scale: tuple[float, float]) -> torch.Tensor:
    """Ratings brought into the scale; the gradient goes on as if they had not been."""
    return ratings + (ratings.clamp(*scale) - ratings).detach()
