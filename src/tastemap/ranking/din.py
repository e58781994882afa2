"""Attention of the candidate over what the user did."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from tastemap.errors import SchemaError
from tastemap.hyperparameters import hyperparameter
from tastemap.nn.candidate_attention import ActivationUnit
from tastemap.nn.dice import Dice
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["DIN"]


class DINNetwork(RankingNetwork):
    """w · MLP([v_1; …; v_n]) + b, where the vector of a history is Σ_j a(e_j, c) e_j.

    Args:
        fields: the vectors v, with activation units a.
        deep: the perceptron, over all vectors in one.
        width: of what it gives.
    """

    def __init__(self, fields: Fields, deep: nn.Module, width: int) -> None:
        super().__init__(fields)
        self.deep, self.output = deep, nn.Linear(width, 1)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.output(self.deep(vectors.flatten(1)))
        return found.squeeze(1)


class DIN(DeepRanker):
    """A history has another vector for each candidate: the sum of its events, each as strong as a
    small network finds it to speak about the candidate (Zhou et al. 2018).

    It needs a sequence of a categorical feature, whose value is the candidate. The penalty that all
    our rankers have takes the place of the paper's mini-batch aware regularization: it too touches
    only the vectors that a batch has, but holds frequent values back as much as rare ones a row.

    Raises:
        SchemaError: when it is fitted, where no feature is a sequence.
    """

    name = "din"
    paper = "Zhou et al. 2018, Deep interest network for click-through rate prediction"

    activation: Literal["dice", "prelu"] = hyperparameter(
        default="dice", help="of the hidden layers; dice moves the bend to the mean of the data"
    )
    unit_hidden: int = hyperparameter(
        default=36, help="width of the hidden layer that weighs events", ge=1, le=1024, log=True
    )

    def make_network(self) -> DINNetwork:
        if not self.schema.sequences:
            raise SchemaError(
                "DIN looks at a history for each candidate, and no feature is a sequence; give "
                "fit_frame a column of lists and say what it holds, as in "
                'kinds={"history": "sequence of item"}, or take another ranker, such as DCNv2'
            )
        fields = self.make_fields(self.dim, self._activation_unit)
        return DINNetwork(fields, self.make_perceptron(), self.hidden)

    def make_activation(self, width: int) -> nn.Module:
        return Dice(width) if self.activation == "dice" else nn.PReLU(width)

    def _activation_unit(self) -> ActivationUnit:
        width = self.unit_hidden
        return ActivationUnit(self.dim, width, self.make_activation(width))
