"""Models of ratings as something the training loop drives: tables that compiled epochs change in
place, and networks that torch trains on any device."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.schedule import lower_rate

__all__ = ["NetworkTrainer", "RatingNetwork", "TableTrainer"]


class TableTrainer(ABC):
    """Arrays that a subclass's epochs change in place.

    Args:
        tables: the arrays by name.
    """

    def __init__(self, tables: State) -> None:
        self.tables = tables

    @abstractmethod
    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        """One pass over the training data; see `Trainable`."""

    def state(self) -> State:
        return {name: table.copy() for name, table in self.tables.items()}

    def restore(self, state: State) -> None:
        for name, table in state.items():
            self.tables[name][...] = table


class RatingNetwork(nn.Module, ABC):
    """The tables of a model as parameters of the same names, and its formula.

    Args:
        tables: float32 arrays by name.
    """

    def __init__(self, tables: State) -> None:
        super().__init__()
        for name, table in tables.items():
            self.register_parameter(name, nn.Parameter(torch.from_numpy(table.copy())))

    @abstractmethod
    def forward(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of events, given as int64 [n] numbers of events of the training data: their predicted
        values, float32 [n], and the sum of what is penalised, a scalar."""


class NetworkTrainer(ModuleTrainer):
    """Mini-batches of Adagrad (Duchi et al. 2011) on half the squared error plus the penalties.

    All events of a batch take their step from the same place, and a popular item or a busy user has
    many of them. Adagrad divides by what came together before, so that these do not overshoot,
    where the plain SGD of the compiled epochs would.

    Args:
        network: on the device that it is to be trained on.
        values: float32 [m], what is to be predicted of each event.
        batch_size: events in a step.
        learning_rate: the first one, falling to 0.
        epochs: how many there will be.
    """

    def __init__(
        self,
        network: RatingNetwork,
        values: NDArray[np.float32],
        batch_size: int,
        learning_rate: float,
        epochs: int,
    ) -> None:
        super().__init__(network)
        self.device = next(network.parameters()).device
        self.values = torch.from_numpy(values).to(self.device)
        self.batch_size, self.epochs = batch_size, epochs
        self.optimizer = torch.optim.Adagrad(network.parameters(), lr=learning_rate)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        lower_rate(self.optimizer, epoch, self.epochs)
        n = len(self.values)
        generator = generator_of(rng, self.device)
        order = torch.randperm(n, generator=generator, device=self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for events in torch.split(order, self.batch_size):
            self.optimizer.zero_grad()
            predicted, penalty = self.network(events)
            squares = (self.values[events] - predicted).square().sum()
            ((squares + penalty) / 2).backward()
            self.optimizer.step()
            total += squares.detach()
        return {"train_rmse": math.sqrt(total.item() / max(n, 1))}
