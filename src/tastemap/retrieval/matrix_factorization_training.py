"""The tables of matrix factorization, and how compiled kernels train them on a CPU."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.histories import Histories
from tastemap.kernels import mf
from tastemap.kernels.bpr import bpr_epoch
from tastemap.training.loop import State
from tastemap.training.schedule import falling

__all__ = ["BiasedDotProduct", "KernelTrainer", "Loss", "Sampler", "Settings", "TableTrainer"]

Loss = Literal["mse", "huber", "bpr", "bce", "softmax", "sampled_softmax"]
Sampler = Literal["uniform", "popularity", "in_batch", "hard"]

# Small, so that a factor grows only where the data ask for it.
_INITIAL_DEVIATION = 0.01


@dataclass(frozen=True)
class Settings:
    """What to minimise, and how; see `MatrixFactorization` for what each means."""

    loss: Loss
    factors: int
    epochs: int
    learning_rate: float
    regularization: float
    bias_regularization: float
    batch_size: int
    seed: int
    negatives: int = 1
    sampler: Sampler = "uniform"
    popularity_exponent: float = 0.75
    propensity_exponent: float = 0.0

    @property
    def of_ratings(self) -> bool:
        """Whether the values of events are to be foretold, rather than which events there are."""
        return self.loss in ("mse", "huber")

    @property
    def compiled(self) -> bool:
        """Whether there is a kernel for this."""
        if self.loss == "bpr":
            plain = self.negatives == 1 and self.sampler == "uniform"
            return plain and self.propensity_exponent == 0
        return self.loss == "mse"


class BiasedDotProduct(nn.Module):
    """Scores a user and an item by b_u + c_i + p_u · q_i.

    Attributes:
        P, Q: embeddings [n_users, factors] and [n_items, factors], 0 at first.
        b, c: embeddings [n_users, 1] and [n_items, 1], 0 at first.
    """

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()

        def table(rows: int, columns: int) -> nn.Embedding:
            return nn.Embedding(rows, columns, sparse=True, _weight=torch.zeros(rows, columns))

        self.P, self.Q = table(n_users, factors), table(n_items, factors)
        self.b, self.c = table(n_users, 1), table(n_items, 1)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Scores of pairs: int64 [...] and int64 [...] of one shape give float32 [...]."""
        dot = (self.P(users) * self.Q(items)).sum(-1)
        scores: torch.Tensor = dot + (self.b(users) + self.c(items)).squeeze(-1)
        return scores

    def arrays(self) -> dict[str, NDArray[Any]]:
        """P, Q float32 [rows, factors] and b, c float32 [rows]; on the CPU views, else copies."""
        weights = {name: getattr(self, name).weight.detach().cpu().numpy() for name in "PQbc"}
        return {name: w[:, 0] if name in "bc" else w for name, w in weights.items()}


class TableTrainer(ABC):
    """What all ways of training have in common: the tables and the events.

    Args:
        settings: what to minimise, and how.
        histories: the events, [user rows]; unknown items are passed over.
        n_items: item rows.
        mean: what to subtract from the values.
        device: torch's name of the device that the tables live on.
    """

    def __init__(
        self, settings: Settings, histories: Histories, n_items: int, mean: float, device: str
    ) -> None:
        self.settings, self.device, self.n_items = settings, device, n_items
        self.histories = histories
        known = histories.items > 0
        self.users, self.items = histories.rows_of_events()[known], histories.items[known]
        self.values = histories.values[known] - np.float32(mean)
        self.rng = np.random.default_rng([settings.seed, 0])
        self.tables = BiasedDotProduct(len(histories), n_items, settings.factors)
        views = self.tables.arrays()
        for name in "PQ":
            self.rng.standard_normal(out=views[name], dtype=np.float32)
            views[name] *= _INITIAL_DEVIATION
        # What has no events stays where it began, but a ranking pushes every item but the unknown.
        views["P"][np.bincount(self.users, minlength=len(histories)) == 0] = 0
        n_events = np.bincount(self.items, minlength=n_items)
        views["Q"][n_events == 0 if settings.of_ratings else 0] = 0
        self.tables.to(device)

    @abstractmethod
    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        """One pass over the events; see `Trainable`."""

    def state(self) -> State:
        return {name: array.copy() for name, array in self.tables.arrays().items()}

    def restore(self, state: State) -> None:
        with torch.no_grad():
            for name, array in state.items():
                weight = getattr(self.tables, name).weight
                weight.copy_(torch.from_numpy(array).reshape(weight.shape))


class KernelTrainer(TableTrainer):
    """Epochs of compiled SGD on views of the tables, for the CPU; one seed gives one result."""

    def __init__(self, settings: Settings, histories: Histories, n_items: int, mean: float) -> None:
        super().__init__(settings, histories, n_items, mean, "cpu")
        if settings.loss == "mse":
            self.strata = self._stratify(self.rng)
        else:
            chosen = histories.to_csr(n_items)
            self.chosen = chosen.indptr.astype(np.int64), chosen.indices.astype(np.int32)

    def _stratify(self, rng: np.random.Generator) -> mf.Strata:
        n_users = len(self.histories)
        return mf.stratify(self.users, self.items, self.values, n_users, self.n_items, rng)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        settings, t = self.settings, self.tables.arrays()
        rate, penalty, bias_penalty = (
            np.float32(x)
            for x in (
                falling(settings.learning_rate, epoch, settings.epochs),
                settings.regularization,
                settings.bias_regularization,
            )
        )
        if settings.loss == "mse":
            s, order = self.strata, rng.permutation(mf.STRATA)
            total = mf.mse_epoch(
                s.users, s.items, s.values, s.offsets, order,
                t["P"], t["Q"], t["b"], t["c"], rate, penalty, bias_penalty,
            )  # fmt: skip
            return {"train_rmse": math.sqrt(total / max(len(s.users), 1))}
        s, order = self._stratify(rng), rng.permutation(mf.STRATA)
        total, count = bpr_epoch(
            s.users, s.items, s.offsets, s.pool, s.pool_offsets, order,
            *self.chosen, t["P"], t["Q"], t["c"],
            rate, penalty, bias_penalty, 1, rng.integers(1 << 63, dtype=np.uint64),
        )  # fmt: skip
        return {"train_loss": total / max(count, 1)}
