"""Optimizers for tables of embeddings that touch only the rows of the batch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim import SGD, Optimizer, SparseAdam

from tastemap.nn.ftrl import FTRL
from tastemap.nn.rowwise_adagrad import RowwiseAdagrad

__all__ = ["FTRL", "RowwiseAdagrad", "sparse_adam", "sparse_sgd"]

# State in float32 beside a table [rows, dim]: SparseAdam 2 × rows × dim, RowwiseAdagrad rows,
# plain SGD none.


def sparse_adam(
    tables: Iterable[torch.Tensor],
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """torch's Adam for sparse gradients: moments of a row move only in steps that touch it."""
    return SparseAdam(list(tables), lr=learning_rate, betas=betas)


def sparse_sgd(tables: Iterable[torch.Tensor], learning_rate: float = 0.05) -> Optimizer:
    """Plain SGD without momentum or decay, which would touch every row; it keeps no state."""
    return SGD(list(tables), lr=learning_rate)
