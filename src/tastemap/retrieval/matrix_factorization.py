"""Matrix factorization with biases, for ratings and for implicit feedback."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels import mf
from tastemap.losses import bpr, mse
from tastemap.metrics import judge, ndcg, rmse
from tastemap.nn.biased_dot_product import BiasedDotProduct
from tastemap.retrieval.base import VectorRetriever
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.loop import State, Training, train
from tastemap.training.run import Run, describe

__all__ = ["MatrixFactorization"]

# Learning rate, regularization and epochs of each loss, where none are given.
_DEFAULTS = {"mse": (0.04, 0.04, 15), "bpr": (0.1, 0.01, 100)}


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
        "mse", "what is minimised: the error of ratings, or of the order of chosen items and others"
    )
    factors: int = hyperparameter(64, "length of the vectors, without biases", ge=1, log=True)
    epochs: int | None = hyperparameter(
        None, "passes over the events; none for 15 (mse) or 100 (bpr)", ge=1, log=True
    )
    learning_rate: float | None = hyperparameter(
        None, "first step size, falling to 0; none for 0.04 (mse) or 0.1 (bpr)", gt=0, log=True
    )
    regularization: float | None = hyperparameter(
        None, "penalty on the vectors; none for 0.04 (mse) or 0.01 (bpr)", ge=0, log=True
    )
    bias_regularization: float = hyperparameter(0.01, "penalty on the biases", ge=0, log=True)
    patience: int = hyperparameter(
        5, "with validation: stop after so many epochs without a better one", ge=1
    )
    batch_size: int = hyperparameter(
        4096, "events in a step where torch trains, that is on a GPU", ge=1, log=True
    )
    seed: int = hyperparameter(0, "of all random numbers", ge=0)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        values = dataset.histories.values
        mean = values.mean(dtype=np.float64) if self.loss == "mse" else 0.0
        self.ratings: NDArray[np.float32] = np.array([mean, values.min(), values.max()], np.float32)
        trainer = (_Kernels if device == "cpu" else _Torch)(self, dataset, device)

        def validate() -> dict[str, float]:
            assert validation is not None
            self._set_vectors(trainer.state())
            return self._validate(validation)

        rate, penalty, epochs = self.resolved()
        self.training: Training = train(
            trainer,
            epochs=epochs,
            seed=self.seed,
            run=run,
            about=describe(
                self, dataset, epochs=epochs, learning_rate=rate, regularization=penalty
            ),
            validate=None if validation is None else validate,
            monitor=None if validation is None else ("rmse" if self.loss == "mse" else "ndcg@10"),
            higher_is_better=self.loss == "bpr",
            patience=self.patience,
        )
        self._set_vectors(trainer.state())

    def resolved(self) -> tuple[float, float, int]:
        """Learning rate, regularization and epochs."""
        rate, penalty, epochs = _DEFAULTS[self.loss]
        return (
            rate if self.learning_rate is None else self.learning_rate,
            penalty if self.regularization is None else self.regularization,
            epochs if self.epochs is None else self.epochs,
        )

    def _set_vectors(self, state: State) -> None:
        P, Q, b, c = (state[name] for name in ("P", "Q", "b", "c"))
        self.user_vectors: NDArray[np.float32] = np.column_stack(
            [P, np.ones_like(b), self.ratings[0] + b]
        )
        self.vectors: NDArray[np.float32] = np.column_stack([Q, c, np.ones_like(c)])

    def _validate(self, holdout: Holdout) -> dict[str, float]:
        truth = holdout.truth
        if self.loss == "mse":
            predicted = self.predict_pairs(holdout.queries, truth.rows_of_events(), truth.items)
            return {"rmse": rmse(predicted, truth.values)}
        best = self.answer(holdout.queries, 10).padded(10)
        return {"ndcg@10": float(np.nanmean(ndcg(*judge(best, truth.offsets, truth.items), k=10)))}

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        vectors = np.zeros((len(queries), self.vectors.shape[1]), np.float32)
        vectors[:, -2:] = 1, self.ratings[0]
        unchanged = self._unchanged(queries)
        vectors[unchanged] = self.user_vectors[queries.users[unchanged]]
        changed = np.flatnonzero(~unchanged)
        histories = queries.histories.take(changed)
        known = (histories.items > 0) & (histories.items < len(self.vectors))
        fold_in = self._ridge if self.loss == "mse" else self._ascend
        fold_in(histories.select(known), vectors, changed)
        return vectors

    def _unchanged(self, queries: Queries) -> NDArray[np.bool_]:
        """bool [B]: the known users whose history is the one of the training data."""
        asked, trained = queries.histories, self.histories
        users = np.where(queries.users < len(trained), queries.users, 0)
        same = (users > 0) & (asked.counts == trained.counts[users])
        rows = np.flatnonzero(same)
        a, b = asked.take(rows), trained.take(users[rows])
        differs = (a.items != b.items) | (a.values != b.values)
        same[rows[a.rows_of_events()[differs]]] = False
        return same

    def _ridge(
        self, histories: Histories, vectors: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> None:
        """Writes the minimum of the training loss over p_u and b_u, a row for each history.

        With x_i = (q_i, 1) and n events it solves (Σ x_i x_iᵀ + n Λ) (p_u, b_u) = Σ (r_i - mean -
        c_i) x_i, where Λ is diagonal with the penalties of the vectors and of the bias.
        """
        k, penalty = self.vectors.shape[1] - 2, self.resolved()[1]
        # Not 0, since without penalties the matrix may be singular.
        penalties = np.diag(np.maximum([penalty] * k + [self.bias_regularization], 1e-6))
        for place in np.flatnonzero(histories.counts):
            event = slice(histories.offsets[place], histories.offsets[place + 1])
            items = histories.items[event]
            x = self.vectors[items].astype(np.float64)
            wanted = histories.values[event] - self.ratings[0] - x[:, k]
            x = np.delete(x, k, axis=1)
            found = linalg.solve(x.T @ x + len(x) * penalties, x.T @ wanted, assume_a="pos")
            vectors[rows[place], :k] = found[:k]
            vectors[rows[place], -1] += found[k]

    def _ascend(
        self, histories: Histories, vectors: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> None:
        """Writes p_u for each history, found by steps of SGD as in training."""
        k = self.vectors.shape[1] - 2
        Q, c = np.ascontiguousarray(self.vectors[:, :k]), self.vectors[:, k].copy()
        rate, penalty, epochs = (np.float32(v) for v in self.resolved())
        vectors[rows, :k] = mf.bpr_fold_in(
            histories.offsets,
            histories.items,
            Q,
            c,
            rate,
            penalty,
            int(epochs),
            np.uint64(self.seed),
        )

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
        factors = self.vectors[:, :-2]
        lengths = np.linalg.norm(factors, axis=1, keepdims=True)
        unit = np.divide(factors, lengths, out=np.zeros_like(factors), where=lengths > 0)
        cosine: NDArray[np.float32] = unit[items] @ unit.T
        return cosine


# -- training ---------------------------------------------------------------------------------------


class _Trainer:
    """What training by kernels and by torch have in common: the tables, and the events."""

    def __init__(self, model: MatrixFactorization, dataset: Dataset, device: str) -> None:
        self.loss, self.seed, self.batch_size = model.loss, model.seed, model.batch_size
        self.rate, self.penalty, self.epochs = model.resolved()
        self.bias_penalty, self.device = model.bias_regularization, device
        h = dataset.histories
        known = h.items > 0
        self.users, self.items = h.rows_of_events()[known], h.items[known]
        self.values = h.values[known] - model.ratings[0]
        self.n_users, self.n_items = len(h), len(dataset.items)
        self.rng = np.random.default_rng([self.seed, 0])
        self.tables = BiasedDotProduct(self.n_users, self.n_items, model.factors, self.rng)
        # What has no event stays where it began, which for the unknown must be 0. In BPR all items
        # have negatives.
        views = self.tables.arrays()
        views["P"][h.counts == 0] = 0
        if self.loss == "mse":
            views["Q"][dataset.item_counts == 0] = 0
        self.tables.to(device)

    def state(self) -> State:
        return {name: array.copy() for name, array in self.tables.arrays().items()}

    def restore(self, state: State) -> None:
        with torch.no_grad():
            for name, array in state.items():
                weight = getattr(self.tables, name).weight
                weight.copy_(torch.from_numpy(array).reshape(weight.shape))

    def rate_of(self, epoch: int) -> float:
        return self.rate * (1 - epoch / self.epochs)


class _Kernels(_Trainer):
    """Epochs of compiled SGD on views of the tables; one seed gives one result."""

    def __init__(self, model: MatrixFactorization, dataset: Dataset, device: str) -> None:
        super().__init__(model, dataset, device)
        if self.loss == "mse":
            self.strata = self._stratify(self.rng)
        else:
            self.chosen = dataset.histories.to_csr(self.n_items)

    def _stratify(self, rng: np.random.Generator) -> mf.Strata:
        return mf.stratify(self.users, self.items, self.values, self.n_users, self.n_items, rng)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        t = self.tables.arrays()
        rate, penalty, bias_penalty = (
            np.float32(x) for x in (self.rate_of(epoch), self.penalty, self.bias_penalty)
        )
        if self.loss == "mse":
            s, order = self.strata, rng.permutation(mf.STRATA)
            total = mf.mse_epoch(
                s.users, s.items, s.values, s.offsets, order,
                t["P"], t["Q"], t["b"], t["c"], rate, penalty, bias_penalty,
            )  # fmt: skip
            return {"train_rmse": math.sqrt(total / max(len(s.users), 1))}
        s, order = self._stratify(rng), rng.permutation(mf.STRATA)
        seed = rng.integers(1 << 63, dtype=np.uint64)
        total, count = mf.bpr_epoch(
            s.users, s.items, s.offsets, s.pool, s.pool_offsets, order,
            self.chosen.indptr.astype(np.int64), self.chosen.indices, t["P"], t["Q"], t["c"],
            rate, penalty, bias_penalty, seed,
        )  # fmt: skip
        return {"train_loss": total / max(count, 1)}


class _Torch(_Trainer):
    """Epochs of mini-batches on any device, with the loss and penalties of the kernels."""

    def __init__(self, model: MatrixFactorization, dataset: Dataset, device: str) -> None:
        super().__init__(model, dataset, device)
        self.events = [
            torch.from_numpy(column).to(device)
            for column in (self.users.astype(np.int64), self.items.astype(np.int64), self.values)
        ]
        # Adagrad gives rare rows long steps and popular ones, which a batch holds many times,
        # short ones; and it has sparse gradients.
        self.optimizer = torch.optim.Adagrad(self.tables.parameters(), lr=self.rate)
        if self.loss == "bpr":
            self.sampler = UniformSampler(self.n_items, self.events[0], self.events[1])

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(1 << 62)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate_of(epoch)
        n = len(self.values)
        order = torch.randperm(n, generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in order.split(self.batch_size):
            self.optimizer.zero_grad()
            loss = self._loss(*(column[batch] for column in self.events), generator)
            total += loss.detach() * len(batch)
        mean = total.item() / max(n, 1)
        return {"train_rmse": math.sqrt(mean)} if self.loss == "mse" else {"train_loss": mean}

    def _loss(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        values: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Takes a step and returns the loss, without penalties, before it."""
        vectors, biases = self.tables.penalty(users, items)
        if self.loss == "mse":
            loss = mse(self.tables(users, items), values)
        else:
            negatives, _, mask = self.sampler.sample(users, 1, generator)
            scores = self.tables(users[:, None], negatives)
            loss = bpr(self.tables(users, items), scores, mask)
            of_negatives = self.tables.penalty(users, negatives[:, 0])
            vectors, biases = vectors + of_negatives[0], biases + of_negatives[1]
        (loss + self.penalty * vectors + self.bias_penalty * biases).backward()
        self.optimizer.step()
        return loss
