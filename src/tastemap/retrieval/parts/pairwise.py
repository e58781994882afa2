"""Training of models that put what was chosen before what was not: what BPR and WARP share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Holdout
from tastemap.kernels.blocks import STRATA, Blocks, cut_into_blocks, sorted_within_rows, user_strata
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.retrieval.parts.factor_model import FactorModel, FactorTrainer
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.training.loop import State
from tastemap.training.module import generator_of
from tastemap.training.run import Run
from tastemap.training.schedule import falling, lower_rate

__all__ = ["DotProduct", "PairKernelTrainer", "PairTorchTrainer", "PairwiseModel", "Sizes"]

Sizes = tuple[np.float32, np.float32, np.float32]
"""Of the steps of an epoch, of the penalty on vectors, and of that on biases."""

# Small, so that a factor grows only where the data ask for it.
_DEVIATION = 0.01


class PairwiseModel(PretrainedItems, FactorModel):
    """A `FactorModel` trained by steps on pairs, whose rate falls linearly to 0. A subclass has the
    hyper-parameters named here."""

    factors: int
    epochs: int
    learning_rate: float
    regularization: float
    bias_regularization: float
    batch_size: int

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["Q"]]

    @abstractmethod
    def _kernel_trainer(self) -> PairKernelTrainer:
        """What trains on the CPU."""

    @abstractmethod
    def _torch_trainer(self, device: str) -> PairTorchTrainer:
        """What trains elsewhere."""

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.kernel_device()
        trainer = self._kernel_trainer() if device == "cpu" else self._torch_trainer(device)
        self._set_factors(trainer.factors())
        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            # What the kernels train is the model's own arrays: big ones should not be copied.
            install=None if device == "cpu" else self._set_factors,
        )


class PairKernelTrainer(FactorTrainer):
    """Compiled epochs on the CPU; a subclass writes `_epoch`. Memory beside the factors and the
    histories: three int32 for each event, and a few numbers for each item.

    Args:
        model: whose hyper-parameters and training set they have; unknown items are passed over.
    """

    def __init__(self, model: PairwiseModel) -> None:
        self.model = model
        histories, n_items = model.histories, len(model.items)
        self.offsets, self.items = histories.offsets, histories.items
        self.P, self.Q = _first_factors(model)
        self.c: NDArray[np.float32] = np.zeros(n_items, np.float32)
        self.counts = np.bincount(self.items, minlength=n_items)
        self.chosen = sorted_within_rows(self.offsets, self.items)
        self.bounds = user_strata(self.offsets)

    def factors(self) -> State:
        return {"P": self.P, "Q": self.Q, "c": self.c}

    def restore(self, state: State) -> None:
        for name, array in self.factors().items():
            array[...] = state[name]

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        blocks = cut_into_blocks(self.offsets, self.items, self.bounds, self.counts, rng)
        order, seed = rng.permutation(STRATA), rng.integers(1 << 63, dtype=np.uint64)
        m = self.model
        rate = falling(m.learning_rate, epoch, m.epochs)
        sizes = np.float32(rate), np.float32(m.regularization), np.float32(m.bias_regularization)
        total, count = self._epoch(sizes, blocks, order, seed)
        return {"train_loss": total / max(count, 1)}

    @abstractmethod
    def _epoch(
        self, sizes: Sizes, blocks: Blocks, order: NDArray[np.int64], seed: np.uint64
    ) -> tuple[float, int]:
        """One pass over the blocks; the sum of the losses, and of how many events."""


class DotProduct(nn.Module):
    """Scores p_u · q_i + c_i from tables with sparse gradients.

    Attributes:
        P, Q, c: tables [user rows, factors], [item rows, factors] and [item rows, 1].
    """

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()
        self.P = EmbeddingTable(n_users, factors, initialize=nn.init.zeros_)
        self.Q = EmbeddingTable(n_items, factors, initialize=nn.init.zeros_)
        self.c = EmbeddingTable(n_items, 1, initialize=nn.init.zeros_)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Scores of users int64 [B] for items int64 [B, n], float32 [B, n]."""
        dot = torch.bmm(self.Q(items), self.P(users)[:, :, None])
        scores: torch.Tensor = (dot + self.c(items))[..., 0]
        return scores


class PairTorchTrainer(FactorTrainer):
    """Epochs of mini-batches by torch, on any device; a subclass writes `_loss`.

    Args:
        model: see `PairKernelTrainer`.
        device: torch's name of it.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, model: PairwiseModel, device: str) -> None:
        self.model, self.device = model, device
        histories = model.histories
        known = histories.items > 0
        self.users, self.items = (
            torch.from_numpy(column[known].astype(np.int64)).to(device)
            for column in (histories.rows_of_events(), histories.items)
        )
        P, Q = _first_factors(model)
        self.tables = DotProduct(len(P), len(Q), model.factors)
        with torch.no_grad():
            self.tables.P.weight.copy_(torch.from_numpy(P))
            self.tables.Q.weight.copy_(torch.from_numpy(Q))
        self.tables.to(device)

    def factors(self) -> State:
        t = self.tables
        P, Q, c = (table.weight.detach().cpu().numpy() for table in (t.P, t.Q, t.c))
        return {"P": P, "Q": Q, "c": c[:, 0]}

    def restore(self, state: State) -> None:
        with torch.no_grad():
            for table, name in ((self.tables.P, "P"), (self.tables.Q, "Q"), (self.tables.c, "c")):
                table.weight.copy_(torch.from_numpy(state[name]).reshape(table.weight.shape))

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        lower_rate(self.optimizer, epoch, self.model.epochs)
        generator = generator_of(rng, self.device)
        order = torch.randperm(len(self.users), generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in torch.split(order, self.model.batch_size):
            users, items = self.users[batch], self.items[batch]
            self.optimizer.zero_grad()
            loss, penalty = self._loss(users, items, generator)
            ((loss + penalty / 2) * len(batch)).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(batch)
        return {"train_loss": total.item() / max(len(self.users), 1)}

    @abstractmethod
    def _loss(
        self, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss of chosen pairs int64 [B] and [B], and the mean penalty."""

    def _penalty(
        self, users: torch.Tensor, items: torch.Tensor, vectors: float, biases: float
    ) -> torch.Tensor:
        """The weighted squares of what a batch touches, users [B] and items [...], over B."""
        t = self.tables
        squares = t.P(users).square().sum() + t.Q(items).square().sum()
        biased = biases * t.c(items).square().sum()
        penalty: torch.Tensor = (vectors * squares + biased) / len(users)
        return penalty


def _first_factors(model: PairwiseModel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normal random vectors of users and items; 0 for users without events and for item row 0."""
    rng = np.random.default_rng([model.seed, 0])
    P = rng.standard_normal((len(model.users), model.factors), np.float32)
    P *= np.float32(_DEVIATION)
    P[model.histories.counts == 0] = 0
    Q = rng.standard_normal((len(model.items), model.factors), np.float32)
    Q *= np.float32(_DEVIATION)
    Q[0] = 0
    return P, Q
