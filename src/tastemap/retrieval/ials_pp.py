"""iALS++: alternating least squares for long vectors."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.als import solve_in_axes
from tastemap.kernels.ials_pp import sweep, sweep_torch
from tastemap.retrieval.als import ALS, Step
from tastemap.training.run import Run

__all__ = ["IALSPP"]


class IALSPP(ALS):
    """What `ALS` minimises, a block of coordinates at a time (iALS++).

    Where `ALS` solves each user and item exactly, a sweep of iALS++ takes a Newton step in each
    block of `block_size` coordinates in turn, the rest being held (Rendle, Krichene, Zhang & Koren
    2021, section 4). An iteration, a sweep over the users and one over the items, costs time for
    factors × block_size for each observed pair instead of factors², and converges about as fast.

    The learned map is turned to its principal axes, those in which the items' Gram matrix is
    diagonal; dot products stay what they are. There a query's vector, the exact minimum given its
    history, takes a system of the size of the history instead of `factors`
    (`kernels.als.solve_in_axes`).

    Attributes:
        item_factors: float32 [item rows, factors]; zeros for items without events; by axis, the
            longest first.
        item_gram: float32 [factors, factors], α₀ Y'Y, diagonal.
        fitted_scale: float64 [2], the number of items with events, and what values are divided by.
    """

    name: ClassVar[str] = "ialspp"
    paper: ClassVar[str] = (
        "Rendle, Krichene, Zhang & Koren 2021, iALS++: Speeding up Matrix Factorization with "
        "Subspace Optimization (arXiv:2110.14044)"
    )

    factors: int = hyperparameter(
        default=256, help="length of the vectors", ge=1, le=8192, log=True
    )
    block_size: int = hyperparameter(
        default=32, help="coordinates that are solved together", ge=1, le=512, log=True
    )
    iterations: int = hyperparameter(
        default=12, help="rounds of sweeps over users and items", ge=1, le=1000
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        super()._fit(dataset, validation, run)
        y = self.item_factors.astype(np.float64)
        axes = np.linalg.eigh(y.T @ y)[1][:, ::-1]
        turned = y @ axes
        self.item_factors = turned.astype(np.float32)
        costs = self.unobserved_weight * (turned**2).sum(axis=0)
        self.item_gram = np.diag(costs.astype(np.float32))

    def _step(self, device: str) -> Step:
        if device == "cpu":
            return lambda observed, vectors, gram, ridge, before: sweep(
                observed.indptr,
                observed.indices,
                observed.data,
                vectors,
                gram,
                ridge,
                before,
                self.block_size,
            )
        import torch

        def on_device(
            observed: csr_array,
            vectors: NDArray[np.float32],
            gram: NDArray[np.float32],
            ridge: NDArray[np.float32],
            before: NDArray[np.float32],
        ) -> NDArray[np.float32]:
            given = (torch.from_numpy(array).to(device) for array in (vectors, gram, before))
            y, g, x = given
            swept: NDArray[np.float32] = (
                sweep_torch(
                    observed.indptr,
                    observed.indices,
                    observed.data,
                    y,
                    g,
                    ridge,
                    x,
                    self.block_size,
                )
                .cpu()
                .numpy()
            )
            return swept

        return on_device

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        observed = self.observed(queries.histories)
        return solve_in_axes(
            observed.indptr,
            observed.indices,
            observed.data,
            self.item_factors,
            np.diagonal(self.item_gram),
            self.ridge(np.diff(observed.indptr), self.fitted_scale[0]),
        )
