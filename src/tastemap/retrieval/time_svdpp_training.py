"""timeSVD++ as something the training loop drives, by compiled epochs or by torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.kernels.svdpp import block_size_of
from tastemap.kernels.time_svdpp import Days, Events, Items, Users, time_svdpp_epoch
from tastemap.retrieval.parts.rating_training import NetworkTrainer, RatingNetwork, TableTrainer
from tastemap.retrieval.svdpp import implicit_part
from tastemap.training.loop import State
from tastemap.training.schedule import falling

if TYPE_CHECKING:
    from tastemap.retrieval.time_svdpp import TimeSVDPP

__all__ = ["trainer_of"]

# Small, so that a factor grows only where the data ask for it.
_INITIAL_DEVIATION = 0.02


def trainer_of(
    model: TimeSVDPP, events: Events, n_days: int, n_items: int, device: str
) -> TableTrainer | NetworkTrainer:
    """What trains the model on a device; its state has the names of the model's attributes."""
    tables = _tables(model, events, n_days, n_items)
    if device == "cpu":
        return _KernelTrainer(model, events, tables)
    network = _Network(model, events, tables).to(device)
    m = model
    return NetworkTrainer(network, events.values, m.batch_size, m.learning_rate, m.epochs)


def _tables(model: TimeSVDPP, events: Events, n_days: int, n_items: int) -> State:
    rng = np.random.default_rng([model.seed, 0])
    n_users, k = len(events.offsets) - 1, model.factors
    taste = rng.standard_normal((n_users, k), np.float32) * _INITIAL_DEVIATION
    factors = rng.standard_normal((n_items, k), np.float32) * _INITIAL_DEVIATION
    taste[np.diff(events.offsets) == 0], factors[0] = 0, 0

    def zeros(*shape: int) -> NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    return {
        "taste": taste, "taste_drift": zeros(n_users, k),
        "bias": zeros(n_users), "bias_drift": zeros(n_users), "scale": zeros(n_users) + 1,
        "day_taste": zeros(n_days, k), "day_bias": zeros(n_days), "day_scale": zeros(n_days),
        "item_factors": factors, "implicit_factors": zeros(n_items, k),
        "item_bias": zeros(n_items), "bin_bias": zeros(n_items, model.bins),
    }  # fmt: skip


class _KernelTrainer(TableTrainer):
    """Compiled epochs, the users in a new order in each."""

    def __init__(self, model: TimeSVDPP, events: Events, tables: State) -> None:
        super().__init__(tables)
        t = tables
        self.model, self.events = model, events
        self.counts = np.diff(events.offsets)
        self.rows = np.flatnonzero(self.counts)
        self.users = Users(
            t["taste"], t["taste_drift"], t["bias"], t["bias_drift"], t["scale"]
        )  # fmt: skip
        self.days = Days(t["day_taste"], t["day_bias"], t["day_scale"])
        self.items = Items(
            t["item_factors"], t["implicit_factors"], t["item_bias"], t["bin_bias"]
        )  # fmt: skip

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        order = rng.permutation(self.rows)
        block = block_size_of(len(order))
        of_blocks = np.add.reduceat(self.counts[order], np.arange(0, len(order), block))
        rate = falling(self.model.learning_rate, epoch, self.model.epochs)
        total = time_svdpp_epoch(
            order, block, of_blocks.max(), self.events, self.users, self.days, self.items,
            self.model.rates(rate),
        )  # fmt: skip
        return {"train_rmse": math.sqrt(total / len(self.events.values))}


class _Network(RatingNetwork):
    """timeSVD++ of many ratings at once."""

    taste: torch.Tensor
    taste_drift: torch.Tensor
    bias: torch.Tensor
    bias_drift: torch.Tensor
    scale: torch.Tensor
    day_taste: torch.Tensor
    day_bias: torch.Tensor
    day_scale: torch.Tensor
    item_factors: torch.Tensor
    implicit_factors: torch.Tensor
    item_bias: torch.Tensor
    bin_bias: torch.Tensor
    of_users: torch.Tensor
    of_offsets: torch.Tensor
    of_items: torch.Tensor
    of_drifts: torch.Tensor
    of_days: torch.Tensor
    of_bins: torch.Tensor

    def __init__(self, model: TimeSVDPP, events: Events, tables: State) -> None:
        super().__init__(tables)
        m = model
        self.decay, self.bias_decay = m.regularization, m.bias_regularization
        self.time_decay, self.time_bias_decay = m.time_regularization, m.time_bias_regularization
        users = np.repeat(np.arange(len(events.offsets) - 1), np.diff(events.offsets))
        for name, column in {"users": users, **events._asdict()}.items():
            wanted = np.float32 if column.dtype.kind == "f" else np.int64
            tensor = torch.from_numpy(column.astype(wanted))
            self.register_buffer(f"of_{name}", tensor, persistent=False)

    def forward(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        u, i, day = self.of_users[events], self.of_items[events], self.of_days[events]
        drift = self.of_drifts[events]
        q, c, c_t = self.item_factors[i], self.item_bias[i], self.bin_bias[i, self.of_bins[events]]
        p, p_drift, p_t = self.taste[u], self.taste_drift[u], self.day_taste[day]
        b, b_drift, b_t = self.bias[u], self.bias_drift[u], self.day_bias[day]
        s, s_t = self.scale[u], self.day_scale[day]
        z, implicit_penalty = implicit_part(
            u, self.of_offsets, self.of_items, self.implicit_factors
        )

        taste = p + drift[:, None] * p_drift + p_t + z
        predicted = b + drift * b_drift + b_t + (c + c_t) * (s + s_t) + (q * taste).sum(dim=1)
        penalty = (
            self.decay * (_squares(p, q) + implicit_penalty)
            + self.bias_decay * _squares(b, c)
            + self.time_decay * _squares(p_drift, p_t)
            + self.time_bias_decay * _squares(b_drift, b_t, c_t, s - 1, s_t)
        )
        return predicted, penalty


def _squares(*parts: torch.Tensor) -> torch.Tensor:
    """The sum of the squares of all parts, a scalar."""
    return torch.stack([part.square().sum() for part in parts]).sum()
