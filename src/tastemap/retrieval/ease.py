"""EASE: a linear autoencoder with a closed form."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.ease import sum_rows
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.activity import damp_active_users
from tastemap.training.run import Run

__all__ = ["EASE"]

# Beyond this the inverse would take more than 20 GB and hours.
_MAX_ITEMS = 50_000


class EASE(Retriever):
    """Item-item weights B that best reproduce every history X from its other items:

        min_B |X - XB|² + sum_j (regularization + dropout / (1 - dropout) (X'X)_jj) |B_j|²
            with   diag(B) = 0

    whose solution is B = I - P diag(1 / P_ii), P the inverse of X'X with the penalties added to
    its diagonal. A query scores xB. With dropout this is training on histories of which so many
    events are hidden, which keeps popular items from explaining everything (Steck 2020, equation
    7, with all the emphasis on what is hidden). Users weigh (number of their items)
    ^-`activity_exponent`, on average 1: people who chose nearly everything say less about what
    belongs together. With both at 0 it is EASE as first published.
    Fitting takes memory for items² and time for items³; the number of users hardly matters.

    Attributes:
        item_weights: float32 [item rows, item rows]; row j is what item j adds to
            each item's score.
    """

    name: ClassVar[str] = "ease"
    paper: ClassVar[str] = (
        "Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data (WWW); Steck 2020, "
        "Autoencoders that don't overfit towards the Identity (NeurIPS)"
    )
    learned: ClassVar[tuple[str, ...]] = ("item_weights",)

    regularization: float = hyperparameter(
        default=300.0, help="L2 penalty on the weights", gt=0, log=True
    )
    dropout: float = hyperparameter(
        default=0.5, help="share of a history that is hidden in training", ge=0, lt=1
    )
    activity_exponent: float = hyperparameter(
        default=0.5, help="how far active users count less", ge=0, le=1
    )
    use_values: bool = hyperparameter(
        default=False,
        help="reproduce the events' values (summed for repeated events) instead of ones",
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        if dataset.n_items > _MAX_ITEMS:
            raise DataError(
                f"EASE keeps a dense matrix of items × items, too large for {dataset.n_items:,} "
                "items",
                remedy="Drop rare items (Dataset.filter(min_item_events=...)), or use ALS",
            )
        x = dataset.histories.to_csr(len(dataset.items), values=self.use_values)
        x = damp_active_users(x, self.activity_exponent)
        self.item_weights: NDArray[np.float32] = item_weights(
            x, self.regularization, self.dropout, run.torch_device()
        )

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        histories = queries.histories.to_csr(len(self.items), values=self.use_values)
        weights = self.item_weights if items is None else self.item_weights[:, items]
        return sum_rows(histories, weights)


def item_weights(
    x: csr_array, regularization: float, dropout: float = 0.0, device: str = "cpu"
) -> NDArray[np.float32]:
    """B of EASE for histories x float32 [users, n], float32 [n, n], with a diagonal of 0."""
    n = x.shape[1]
    # In float64: the columns of popular items are nearly dependent.
    gram = (x.T @ x).toarray().astype(np.float64)
    gram[np.diag_indices(n)] *= 1.0 / (1.0 - dropout)
    gram[np.diag_indices(n)] += regularization
    if device == "cpu":
        inverse = _inverse(gram)
    else:
        import torch

        factor = torch.linalg.cholesky(torch.from_numpy(gram).to(device))
        inverse = torch.cholesky_inverse(factor).cpu().numpy()
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a symmetric positive definite matrix, in its place.

    Half the work of a general inverse, and no second matrix.
    """
    # The transpose of a symmetric matrix in C order is itself in the Fortran order of LAPACK.
    factor, _ = scipy.linalg.lapack.dpotrf(matrix.T, lower=False, overwrite_a=True, clean=False)
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=False, overwrite_c=True)
    upper: NDArray[np.float64] = np.triu(inverse)
    upper += np.triu(upper, 1).T
    return upper
