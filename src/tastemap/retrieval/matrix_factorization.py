"""Matrix factorization with biases, for ratings and for implicit feedback."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.mf_fold_in import bpr_fold_in, mse_fold_in
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.fitting import fit_in_epochs
from tastemap.retrieval.fold_in import unchanged_since
from tastemap.retrieval.matrix_factorization_training import KernelTrainer, Settings, TorchTrainer
from tastemap.training.loop import State, Training
from tastemap.training.run import Run

__all__ = ["MatrixFactorization"]

_DEFAULTS: dict[str, dict[str, Any]] = {
    "mse": {"epochs": 12, "learning_rate": 0.05, "regularization": 0.04},
    "bpr": {"epochs": 100, "learning_rate": 0.1, "regularization": 0.01},
}


class MatrixFactorization(VectorRetriever):
    """Users and items as vectors whose dot product is the rating, or the order of preference.

        r̂_ui = mean + b_u + c_i + p_u · q_i

    With `loss="mse"` (Koren et al. 2009) the squared error of ratings is minimised, with
    `loss="bpr"` (Rendle et al. 2009) that chosen items stand behind others; there mean and b_u,
    which do not change the order, are 0. Both penalise, once for each event, the squares of the
    parameters they touch. On the CPU compiled kernels train, elsewhere torch.

    A user whose history has not changed since training has the vector learned in training. To every
    other history a vector is fitted with the items held fixed: for "mse" by ridge regression, which
    is exact, for "bpr" by the same steps as in training.

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
        "Feedback (UAI)"
    )
    learned: ClassVar[tuple[str, ...]] = ("user_vectors", "vectors", "ratings")

    loss: Literal["mse", "bpr"] = hyperparameter(
        default="mse",
        help="what is minimised: the error of ratings, or of the order of chosen items and others",
    )
    factors: int = hyperparameter(
        default=64, help="length of the vectors, without biases", ge=1, log=True
    )
    epochs: int | None = hyperparameter(
        default=None, help="passes over the events; none for 12 (mse) or 100 (bpr)", ge=1, log=True
    )
    learning_rate: float | None = hyperparameter(
        default=None,
        help="first step size, falling to 0; none for 0.05 (mse) or 0.1 (bpr)",
        gt=0,
        log=True,
    )
    regularization: float | None = hyperparameter(
        default=None,
        help="penalty on the vectors; none for 0.04 (mse) or 0.01 (bpr)",
        ge=0,
        log=True,
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="penalty on the biases", ge=0, log=True
    )
    patience: int = hyperparameter(
        default=5, help="with validation: stop after so many epochs without a better one", ge=1
    )
    batch_size: int = hyperparameter(
        default=4096, help="events in a step where torch trains, that is on a GPU", ge=1, log=True
    )
    seed: int = hyperparameter(default=0, help="of all random numbers", ge=0)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device, values = run.torch_device(), dataset.histories.values
        mean = values.mean(dtype=np.float64) if self.loss == "mse" else 0.0
        self.ratings: NDArray[np.float32] = np.array([mean, values.min(), values.max()], np.float32)
        settings = self._settings()
        task = (settings, dataset.histories, len(dataset.items), float(self.ratings[0]))
        trainer = KernelTrainer(*task) if device == "cpu" else TorchTrainer(*task, device)

        self.training: Training = fit_in_epochs(
            self,
            trainer,
            dataset,
            validation,
            run,
            epochs=settings.epochs,
            seed=self.seed,
            patience=self.patience,
            monitor="rmse" if self.loss == "mse" else "ndcg@10",
            install=self._set_vectors,
            resolved=asdict(settings),
        )

    def _settings(self) -> Settings:
        """The hyper-parameters of training, with the loss's own where none are given."""
        settings = {field.name: getattr(self, field.name) for field in fields(Settings)}
        return Settings(
            **{k: _DEFAULTS[self.loss][k] if v is None else v for k, v in settings.items()}
        )

    def _set_vectors(self, state: State) -> None:
        P, Q, b, c = (state[name] for name in ("P", "Q", "b", "c"))
        self.user_vectors: NDArray[np.float32] = np.column_stack(
            [P, np.ones_like(b), self.ratings[0] + b]
        )
        self.vectors: NDArray[np.float32] = np.column_stack([Q, c, np.ones_like(c)])

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        vectors = np.zeros((len(queries), self.vectors.shape[1]), np.float32)
        vectors[:, -2:] = 1, self.ratings[0]
        unchanged = unchanged_since(self.histories, queries)
        vectors[unchanged] = self.user_vectors[queries.users[unchanged]]
        changed = np.flatnonzero(~unchanged)
        histories = queries.histories.take(changed)
        known = (histories.items > 0) & (histories.items < len(self.vectors))
        folded = self._fold_in(histories.select(known))
        k = folded.shape[1] - 1
        vectors[changed, :k] = folded[:, :k]
        vectors[changed, -1] += folded[:, k]
        return vectors

    def _fold_in(self, h: Histories) -> NDArray[np.float32]:
        """(p_u, b_u) of histories without unknown items, float32 [B, factors + 1]."""
        s = self._settings()
        Q, c = np.ascontiguousarray(self.vectors[:, :-2]), self.vectors[:, -2].copy()
        if self.loss == "mse":
            values = h.values - self.ratings[0]
            # Not 0, since without penalties there may be more than one minimum.
            penalties = max(s.regularization, 1e-6), max(s.bias_regularization, 1e-6)
            found: NDArray[np.float32] = mse_fold_in(h.offsets, h.items, values, Q, c, *penalties)
            return found
        rate, penalty = np.float32(s.learning_rate), np.float32(s.regularization)
        P = bpr_fold_in(h.offsets, h.items, Q, c, rate, penalty, s.epochs, np.uint64(s.seed))
        return np.column_stack([P, np.zeros(len(P), np.float32)])

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        if self.loss != "mse":
            return super().predict_pairs(queries, query_rows, items, times)
        users = self.encode_queries(queries)
        ratings = np.empty(len(items), np.float64)
        for start in range(0, len(items), 1 << 16):
            pair = slice(start, start + (1 << 16))
            ratings[pair] = (users[query_rows[pair]] * self.vectors[items[pair]]).sum(axis=1)
        return np.clip(ratings, self.ratings[1], self.ratings[2])

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of the factors alone: a bias says how good an item is, not what it is like.
        return cosines(self.vectors[:, :-2], items)
