"""Matrix factorization as something the training loop drives, by compiled kernels or by torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.histories import Histories
from tastemap.kernels import mf
from tastemap.losses import bpr, mse
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.loop import State

__all__ = ["BiasedDotProduct", "KernelTrainer", "Settings", "TorchTrainer"]

# Small, so that a factor grows only where the data ask for it.
_INITIAL_DEVIATION = 0.01


@dataclass(frozen=True)
class Settings:
    """What to minimise, and how; the learning rate falls linearly to 0 over the epochs."""

    loss: Literal["mse", "bpr"]
    factors: int
    epochs: int
    learning_rate: float
    regularization: float
    bias_regularization: float
    batch_size: int
    seed: int

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0."""
        return self.learning_rate * (1 - epoch / self.epochs)


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


class _Trainer:
    """What both ways of training have in common: the tables and the events.

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
        # What has no events stays where it began. In BPR every item but the unknown has negatives.
        views["P"][np.bincount(self.users, minlength=len(histories)) == 0] = 0
        n_events = np.bincount(self.items, minlength=n_items)
        views["Q"][n_events == 0 if settings.loss == "mse" else 0] = 0
        self.tables.to(device)

    def state(self) -> State:
        return {name: array.copy() for name, array in self.tables.arrays().items()}

    def restore(self, state: State) -> None:
        with torch.no_grad():
            for name, array in state.items():
                weight = getattr(self.tables, name).weight
                weight.copy_(torch.from_numpy(array).reshape(weight.shape))


class KernelTrainer(_Trainer):
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
            for x in (settings.rate(epoch), settings.regularization, settings.bias_regularization)
        )
        if settings.loss == "mse":
            s, order = self.strata, rng.permutation(mf.STRATA)
            total = mf.mse_epoch(
                s.users, s.items, s.values, s.offsets, order,
                t["P"], t["Q"], t["b"], t["c"], rate, penalty, bias_penalty,
            )  # fmt: skip
            return {"train_rmse": math.sqrt(total / max(len(s.users), 1))}
        s, order = self._stratify(rng), rng.permutation(mf.STRATA)
        total, count = mf.bpr_epoch(
            s.users, s.items, s.offsets, s.pool, s.pool_offsets, order,
            *self.chosen, t["P"], t["Q"], t["c"],
            rate, penalty, bias_penalty, rng.integers(1 << 63, dtype=np.uint64),
        )  # fmt: skip
        return {"train_loss": total / max(count, 1)}


class TorchTrainer(_Trainer):
    """Epochs of mini-batches on any device, with the loss of the kernels.

    All events of a batch take their step of SGD from the same place. That comes near to one step
    after the other while a row occurs rarely in a batch; where a popular row occurs so often that
    its steps would add up to an overshoot, they are shortened.
    """

    def __init__(
        self, settings: Settings, histories: Histories, n_items: int, mean: float, device: str
    ) -> None:
        super().__init__(settings, histories, n_items, mean, device)
        columns = self.users.astype(np.int64), self.items.astype(np.int64), self.values
        self.events = [torch.from_numpy(column).to(device) for column in columns]
        self.optimizer = torch.optim.SGD(self.tables.parameters(), lr=settings.learning_rate)
        if settings.loss == "bpr":
            self.sampler = UniformSampler(n_items, self.events[0], self.events[1])

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(1 << 62)))
        rate = self.optimizer.param_groups[0]["lr"] = self.settings.rate(epoch)
        n, t = len(self.values), self.tables
        order = torch.randperm(n, generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in torch.split(order, self.settings.batch_size):
            users, items, values = (column[batch] for column in self.events)
            self.optimizer.zero_grad()
            if self.settings.loss == "mse":
                loss = mse(t(users, items), values)
                objective = (loss + self._penalty(users, items)) / 2
            else:
                negatives, _, mask = self.sampler.sample(users, 1, generator)
                loss = bpr(t(users, items), t(users[:, None], negatives), mask)
                items = torch.cat([items, negatives[:, 0]])
                objective = loss + self._penalty(users, items) / 2
            (objective * len(batch)).backward()  # type: ignore[no-untyped-call]
            for table, rows in ((t.P, users), (t.b, users), (t.Q, items), (t.c, items)):
                _shorten(table.weight, rows, rate)
            self.optimizer.step()
            total += loss.detach() * len(batch)
        average = total.item() / max(n, 1)
        if self.settings.loss == "mse":
            return {"train_rmse": math.sqrt(average)}
        return {"train_loss": average}

    def _penalty(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The weighted squares of what a batch touches, divided by its number of users."""
        s, t = self.settings, self.tables
        vectors = t.P(users).square().sum() + t.Q(items).square().sum()
        biases = t.b(users).square().sum() + t.c(items).square().sum()
        weighted: torch.Tensor = s.regularization * vectors + s.bias_regularization * biases
        return weighted / len(users)


def _shorten(weight: torch.Tensor, rows: torch.Tensor, rate: float) -> None:
    """Scales the sparse gradient of each row that `rows` holds n times by min(1, 1 / (2 rate n)).

    With 1 as the curvature of the loss, which it is for biases under the squared error, n steps of
    a rate above 1 / n overshoot, and above 2 / n they diverge.
    """
    if weight.grad is None:
        return
    gradient = weight.grad.coalesce()
    touched = gradient.indices()[0]
    n = torch.bincount(rows, minlength=len(weight))[touched]
    scale = (0.5 / (rate * n)).clamp(max=1.0)
    weight.grad = torch.sparse_coo_tensor(
        gradient.indices(),
        gradient.values() * scale[:, None],
        gradient.shape,
        is_coalesced=True,
        check_invariants=False,
    )
