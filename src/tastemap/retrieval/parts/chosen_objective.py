"""A next-item model whose objective is chosen among those that published models were trained by."""

from __future__ import annotations

from typing import Literal

import torch

from tastemap.data.histories import Histories
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.parts.next_item import NextItemRetriever
from tastemap.retrieval.parts.objectives import (
    FullSoftmax,
    GeneralizedBCE,
    Objective,
    OneNegative,
    SampledSoftmax,
    not_chosen,
)

__all__ = ["ChosenObjective"]


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

    def samples_items(self) -> bool:
        return self.objective != "softmax"

    def make_objective(self, histories: Histories, device: str) -> Objective:
        items = self.network.items
        if self.objective == "softmax":
            return FullSoftmax(items)
        sampler = not_chosen(histories, len(self.items), device)
        if self.objective == "bce":
            return OneNegative(
                lambda found, rows: torch.einsum("td,tnd->tn", found.float(), items(rows)), sampler
            )
        negatives = min(self.negatives, len(self.items) - 2)
        if self.objective == "gbce":
            return GeneralizedBCE(items, sampler, negatives, self.calibration)
        return SampledSoftmax(items, sampler, negatives)
