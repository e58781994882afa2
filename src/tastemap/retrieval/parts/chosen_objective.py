"""A next-item model whose objective is chosen among those that published models were trained by."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import torch

from tastemap.data.histories import Histories
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.initializers import normal_
from tastemap.retrieval.parts.next_item import NextItemRetriever
from tastemap.retrieval.parts.objectives import (
    FullSoftmax,
    GeneralizedBCE,
    Objective,
    OneNegative,
    SampledSoftmax,
)
from tastemap.sampling.uniform import UniformSampler

__all__ = ["SPARSE_FROM", "ChosenObjective"]

# From so many items on it costs more to move them all in every step than to find those of the step.
SPARSE_FROM = 100_000
# Of the first item vectors, as in BERT: by Xavier's rule those of a long table would begin so short
# that they are lost beside the positions.
_DEVIATION = 0.02


class ChosenObjective(NextItemRetriever):
    """A next-item model with one table of items, trained by the objective that is asked for."""

    objective: Literal["softmax", "sampled_softmax", "bce", "gbce"] = hyperparameter(
        default="softmax",
        help="softmax over all items, or over a sample (corrected by log-Q); binary cross-entropy "
        "with one negative, or the generalised one with several",
    )
    negatives: int = hyperparameter(
        default=256, help="items drawn for a history; for sampled_softmax and gbce", ge=1, log=True
    )
    calibration: float = hyperparameter(
        default=0.75, help="t of gbce: how much overconfidence is corrected", ge=0, le=1
    )

    def item_table(self, dim: int) -> EmbeddingTable:
        """A new table of all items [item rows, dim]. Where items are drawn, and there are many, a
        step touches only its own."""
        sparse = self.objective != "softmax" and len(self.items) >= SPARSE_FROM
        first = partial(normal_, deviation=_DEVIATION)
        return EmbeddingTable(len(self.items), dim, sparse=sparse, initialize=first)

    def make_objective(self, histories: Histories, device: str) -> Objective:
        items = self.network.items
        if self.objective == "softmax":
            return FullSoftmax(items)
        users = torch.from_numpy(histories.rows_of_events().astype(np.int64)).to(device)
        chosen = torch.from_numpy(histories.items.astype(np.int64)).to(device)
        sampler = UniformSampler(len(self.items), users, chosen)
        if self.objective == "bce":
            return OneNegative(items, sampler)
        negatives = min(self.negatives, len(self.items) - 2)
        if self.objective == "gbce":
            return GeneralizedBCE(items, sampler, negatives, self.calibration)
        return SampledSoftmax(items, sampler, negatives)
