"""Alternating least squares for implicit feedback."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.als import gram, half_step, half_step_torch
from tastemap.kernels.evidence import speakers, spoken
from tastemap.kernels.pairs import pairs
from tastemap.retrieval.base import VectorRetriever
from tastemap.training.run import Run, describe

__all__ = ["ALS", "Step"]

# Improves the vectors of one side (the last) from its observed pairs, the vectors of the other
# side, their Gram matrix and the ridge of each row.
Step = Callable[
    [
        csr_array,
        NDArray[np.float32],
        NDArray[np.float32],
        NDArray[np.float32],
        NDArray[np.float32],
    ],
    NDArray[np.float32],
]


class ALS(VectorRetriever):
    """Matrix factorisation of who chose what, where all that was not chosen counts a little (iALS).

    Users x_u and items y_i minimise

        sum_{(u,i) observed} c_ui (1 - x_u·y_i)² + α₀ sum_{all u,i} (x_u·y_i)²
            + λ sum_u (n_u + α₀ items)^ν |x_u|² + λ sum_i (n_i + α₀ users)^ν |y_i|²

    with n the number of observed pairs of a user or an item, α₀ the `unobserved_weight`, λ the
    `regularization` and ν the `frequency_exponent`: the objective of Hu, Koren & Volinsky (2008)
    with the regularisation of Rendle et al. (2022). With one side fixed the other is a ridge
    regression a row, solved exactly. Only the items' vectors are kept: a query's vector is always
    solved from its history by the same half-step, so that known users and strangers are alike.

    Attributes:
        item_factors: float32 [item rows, factors]; zeros for items without events.
        item_gram: float32 [factors, factors], α₀ Y'Y.
        fitted_scale: float64 [2], the number of items with events, and what values are divided by.
    """

    name: ClassVar[str] = "als"
    paper: ClassVar[str] = (
        "Hu, Koren & Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets (ICDM); "
        "Rendle et al. 2022, Revisiting the Performance of iALS on Item Recommendation Benchmarks "
        "(RecSys)"
    )
    learned: ClassVar[tuple[str, ...]] = ("item_factors", "item_gram", "fitted_scale")

    factors: int = hyperparameter(
        default=128, help="length of the vectors", ge=1, le=2048, log=True
    )
    regularization: float = hyperparameter(default=0.35, help="λ, the L2 penalty", gt=0, log=True)
    unobserved_weight: float = hyperparameter(
        default=0.1,
        help="α₀, what a pair that was not observed weighs against an observed one",
        gt=0,
        log=True,
    )
    frequency_exponent: float = hyperparameter(
        default=0.5,
        help="ν, how far users and items with many events are regularised more",
        ge=0,
        le=1,
    )
    iterations: int = hyperparameter(
        default=10, help="rounds of solving users and items", ge=1, le=1000
    )
    init_scale: float = hyperparameter(
        default=0.1,
        help="standard deviation of the length of an item's first, random vector",
        gt=0,
        log=True,
    )
    use_values: bool | None = hyperparameter(
        default=None,
        help="weigh pairs by their summed values over the mean; none: if kinds have weights",
        tuned=False,
    )
    seed: int = hyperparameter(default=0, help="of the random start", ge=0, tuned=False)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        users = dataset.histories.to_csr(len(dataset.items), values=self.weighs)
        np.maximum(users.data, 0.0, out=users.data)
        mean = float(users.data.sum() / max(users.nnz, 1)) or 1.0
        users.data /= np.float32(mean)
        items = csr_array(users.T)
        user_counts, item_counts = np.diff(users.indptr), np.diff(items.indptr)
        n_users, n_items = float((user_counts > 0).sum()), float((item_counts > 0).sum())
        user_ridge = self.ridge(user_counts, n_items)
        item_ridge = self.ridge(item_counts, n_users)
        step = self._step(run.torch_device())
        start = time.monotonic()
        y = self._start(item_counts)
        x = np.zeros((len(user_counts), self.factors), np.float32)
        with run.recorder(lambda: describe(self, dataset), self.iterations) as recorder:
            for iteration in range(1, self.iterations + 1):
                x = step(users, y, self._gram(y), user_ridge, x)
                y = step(items, x, self._gram(x), item_ridge, y)
                seconds = time.monotonic() - start
                recorder.epoch({"epoch": iteration, "seconds": seconds})
                if run.time_budget is not None and seconds >= run.time_budget:
                    break
            done = iteration == self.iterations
            recorder.finish("finished" if done else "time budget", iteration)
        self.item_factors: NDArray[np.float32] = y
        self.item_gram: NDArray[np.float32] = self._gram(y)
        self.fitted_scale: NDArray[np.float64] = np.array([n_items, mean])

    def _step(self, device: str) -> Step:
        """What solves one side on a device, from and to arrays."""
        if device == "cpu":
            return lambda observed, vectors, gram, ridge, _before: half_step(
                observed.indptr, observed.indices, observed.data, vectors, gram, ridge
            )
        import torch

        def on_device(
            observed: csr_array,
            vectors: NDArray[np.float32],
            gram: NDArray[np.float32],
            ridge: NDArray[np.float32],
            _before: NDArray[np.float32],
        ) -> NDArray[np.float32]:
            solved: NDArray[np.float32] = (
                half_step_torch(
                    observed.indptr,
                    observed.indices,
                    observed.data,
                    torch.from_numpy(vectors).to(device),
                    torch.from_numpy(gram).to(device),
                    ridge,
                )
                .cpu()
                .numpy()
            )
            return solved

        return on_device

    def _start(self, item_counts: NDArray[np.int64]) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.seed)
        y = rng.standard_normal((len(item_counts), self.factors), np.float32)
        y *= np.float32(self.init_scale / np.sqrt(self.factors))
        y[item_counts == 0] = 0.0
        return y

    def _gram(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.float32(self.unobserved_weight) * gram(vectors)

    def ridge(self, counts: NDArray[Any], others: float) -> NDArray[np.float32]:
        """λ (n + α₀ others)^ν for rows with n observed pairs, float32 [rows]."""
        pairs = counts + self.unobserved_weight * others
        return (self.regularization * pairs**self.frequency_exponent).astype(np.float32)

    @property
    def weighs(self) -> bool:
        """Whether events count by their values."""
        return self.data.weighted if self.use_values is None else self.use_values

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        if not self.weighs:
            return super().knows(queries)
        # Where values weigh, returned goods or dislikes alone say nothing of what is liked.
        offsets, _, confidences = self._pairs(queries.histories)
        liked = np.concatenate([[0], np.cumsum(confidences > 0)])
        known: NDArray[np.bool_] = liked[offsets[1:]] > liked[offsets[:-1]]
        return known

    def item_vectors(self) -> NDArray[np.float32]:
        return self.item_factors

    def confidences(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """c of single events by their values, float32 [m]; 0 for what says nothing."""
        if not self.weighs:
            return np.ones(len(values), np.float32)
        weights: NDArray[np.float32] = np.maximum(values, np.float32(0))
        weights /= np.float32(self.fitted_scale[1])
        return weights

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        offsets, items, confidences = self._pairs(queries.histories)
        ridge = self.ridge(np.diff(offsets), self.fitted_scale[0])
        return half_step(offsets, items, confidences, self.item_factors, self.item_gram, ridge)

    def _pairs(
        self, histories: Histories
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """As `observed`, in the three arrays of such a matrix."""
        values = histories.values if self.weighs else np.ones(histories.n_events, np.float32)
        offsets, items, sums = pairs(
            histories.offsets, histories.items, values, len(self.item_factors)
        )
        return offsets, items, self.confidences(sums)

    def observed(self, histories: Histories) -> csr_array:
        """The confidences c of histories [B], [B, item rows]."""
        offsets, items, confidences = self._pairs(histories)
        shape = (len(histories), len(self.item_factors))
        return csr_array((confidences, items, offsets), shape=shape)

    def evidence(self, history: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        # A score is a sum over the history (Hu, Koren & Volinsky 2008, section 5):
        # x·y_i = sum_j c_j y_j' A⁻¹ y_i, with A the matrix of the history's half-step.
        ridge = self.ridge(np.array([len(history)]), self.fitted_scale[0])[0]
        vectors = self.item_factors
        return spoken(vectors[history], vectors[items], self.item_gram, ridge)

    def strongest_of(
        self,
        histories: Histories,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        # As `evidence` says, for all rows in one compiled loop.
        h = histories
        ones = np.ones(h.n_events, np.float32)
        starts, known, _ = pairs(h.offsets, h.items, ones, len(self.item_factors))
        ridges = self.ridge(np.diff(starts), self.fitted_scale[0])
        return speakers(starts, known, offsets, items, self.item_factors, self.item_gram, ridges)
