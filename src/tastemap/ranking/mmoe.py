"""Experts that several tasks share, each by a gate of its own."""

from __future__ import annotations

import torch
from torch import nn

from tastemap.hyperparameters import hyperparameter
from tastemap.nn.perceptron import perceptron
from tastemap.ranking.parts.deep import DeepRanker
from tastemap.ranking.parts.fields import Fields
from tastemap.ranking.parts.inputs import TensorBatch
from tastemap.ranking.parts.networks import RankingNetwork

__all__ = ["MMoE"]


class MMoENetwork(RankingNetwork):
    """y_t = h_t(Σ_i g_t(x)_i f_i(x)), where g_t(x) = softmax(W_t x), of task t (eqs. 5 to 7).

    Args:
        fields: the vectors, all in one x.
        width: of x.
        experts: the perceptrons f.
        towers: the layers h of each task, from what experts give to one number.
    """

    def __init__(
        self,
        fields: Fields,
        width: int,
        experts: list[nn.Sequential],
        towers: list[nn.Sequential],
    ) -> None:
        super().__init__(fields)
        self.experts, self.towers = nn.ModuleList(experts), nn.ModuleList(towers)
        self.gates = nn.Linear(width, len(experts) * len(towers), bias=False)

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        x = vectors.flatten(1)
        found = torch.stack([expert(x) for expert in self.experts], 1)
        shares = self.gates(x).view(len(x), len(self.towers), len(self.experts)).softmax(2)
        mixed = shares @ found
        scores = [tower(mixed[:, task]) for task, tower in enumerate(self.towers)]
        return torch.cat(scores, 1)


class MixtureNetwork(MMoENetwork):
    """The same for one task, a mixture of experts."""

    def logits(self, batch: TensorBatch, vectors: torch.Tensor) -> torch.Tensor:
        return super().logits(batch, vectors).squeeze(1)


class MMoE(DeepRanker):
    """Perceptrons that all tasks share, mixed for each task by a gate of its own, so that tasks
    which have little to do with each other need not share everything (Ma et al. 2018). It is for
    several labels; of one it is a mixture of experts.
    """

    name = "mmoe"
    paper = (
        "Ma et al. 2018, Modeling task relationships in multi-task learning with multi-gate "
        "mixture-of-experts"
    )

    experts: int = hyperparameter(default=4, help="perceptrons", ge=1, le=64)
    tower: int = hyperparameter(
        default=32, help="width of the hidden layer of each task", ge=1, log=True
    )

    def make_network(self) -> RankingNetwork:
        return MixtureNetwork(*self._parts(1))

    def make_task_network(self, tasks: int) -> RankingNetwork:
        return MMoENetwork(*self._parts(tasks))

    def _parts(self, tasks: int) -> tuple[Fields, int, list[nn.Sequential], list[nn.Sequential]]:
        towers = [
            nn.Sequential(
                perceptron(self.hidden, self.tower, 1, self.dropout), nn.Linear(self.tower, 1)
            )
            for _ in range(tasks)
        ]
        experts = [self.make_perceptron() for _ in range(self.experts)]
        return self.make_fields(self.dim), self.input_width, experts, towers
