"""IRGAN's two players, and the two stages in which they learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn

from tastemap.losses import bce, bpr
from tastemap.sampling.hard import HardSampler
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.module import ModuleTrainer, generator_of

if TYPE_CHECKING:
    from tastemap.retrieval.irgan import IRGAN

__all__ = ["EventTrainer", "Game", "Player", "Players", "Pretraining", "draw", "policy_value"]


class Player(nn.Module):
    """f(u, i) = p_u · q_i + b_i over tables of users and items."""

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()

        def table(rows: int, columns: int) -> nn.Embedding:
            return nn.Embedding(rows, columns, _weight=torch.empty(rows, columns).uniform_(-1, 1))

        self.users, self.items = table(n_users, factors), table(n_items, factors)
        self.biases = table(n_items, 1)
        with torch.no_grad():
            for weight in (self.users.weight, self.items.weight):
                weight *= 0.05
            self.biases.weight.zero_()

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Scores of pairs: int64 [...] and int64 [...] that broadcast give float32 [...]."""
        dot = (self.users(users) * self.items(items)).sum(-1)
        scores: torch.Tensor = dot + self.biases(items)[..., 0]
        return scores

    def of_all_items(self, users: torch.Tensor) -> torch.Tensor:
        """Scores of all items but the unknown, which gets -inf, float32 [B, item rows]."""
        scores: torch.Tensor = self.users(users) @ self.items.weight.T + self.biases.weight[:, 0]
        unknown = torch.zeros_like(scores, dtype=torch.bool)
        unknown[:, 0] = True
        return scores.masked_fill(unknown, -torch.inf)

    def squares(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The mean over users [B] of half the squares of what they and items [...] have."""
        parts = (self.users(users), self.items(items), self.biases(items))
        return torch.stack([part.square().sum() for part in parts]).sum() / (2 * len(users))


class Players(nn.Module):
    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()
        self.generator = Player(n_users, n_items, factors)
        self.discriminator = Player(n_users, n_items, factors)


class EventTrainer(ModuleTrainer):
    """What both stages have in common: the events, by user."""

    network: Players

    def __init__(self, players: Players, chosen: csr_array, model: IRGAN) -> None:
        super().__init__(players)
        self.chosen, self.model = chosen, model
        self.device = players.generator.users.weight.device
        self.users = self._tensor(np.repeat(np.arange(chosen.shape[0]), np.diff(chosen.indptr)))
        self.items = self._tensor(chosen.indices)

    def _tensor(self, rows: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(rows.astype(np.int64)).to(self.device)

    def _adam(self, player: Player, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(player.parameters(), lr=rate, fused=True)

    def _batches(self, random: torch.Generator) -> tuple[torch.Tensor, ...]:
        order = torch.randperm(len(self.items), generator=random, device=self.device)
        return torch.split(order, self.model.batch_size)


class Pretraining(EventTrainer):
    """The generator by BPR on dynamic negatives."""

    POOL = 5

    def __init__(self, players: Players, chosen: csr_array, model: IRGAN) -> None:
        super().__init__(players, chosen, model)
        player = players.generator
        uniform = UniformSampler(chosen.shape[1], self.users, self.items)
        self.sampler = HardSampler(uniform, lambda u, i: player(u[:, None], i), self.POOL)
        self.optimizer = self._adam(players.generator, model.pretraining_rate)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        random, player = generator_of(rng, self.device), self.network.generator
        total = 0.0
        for batch in self._batches(random):
            users, items = self.users[batch], self.items[batch]
            negative, found = self.sampler.draw(users, items, 1, random)
            loss = bpr(player(users, items), player(users[:, None], negative), found)
            penalty = player.squares(users, torch.cat([items, negative[:, 0]]))
            _step(loss + self.model.regularization * penalty, self.optimizer)
            total += float(loss.detach()) * len(batch)
        return {"train_loss": total / max(len(self.items), 1)}


class Game(EventTrainer):
    """The rounds of both players."""

    def __init__(self, players: Players, chosen: csr_array, model: IRGAN) -> None:
        super().__init__(players, chosen, model)
        self.active = np.flatnonzero(np.diff(chosen.indptr))
        self.generator_optimizer = self._adam(players.generator, model.learning_rate)
        self.discriminator_optimizer = self._adam(players.discriminator, model.learning_rate)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        random = generator_of(rng, self.device)
        for _ in range(self.model.discriminator_steps):
            judged = self._train_discriminator(random)
        for _ in range(self.model.generator_steps):
            rewards = [self._train_generator(rows, random) for rows in self._user_batches(rng)]
        return {"discriminator_loss": judged, "reward": float(np.mean(rewards))}

    def _user_batches(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        order = rng.permutation(self.active)
        for start in range(0, len(order), self.model.users_per_step):
            yield order[start : start + self.model.users_per_step]

    def _train_discriminator(self, random: torch.Generator) -> float:
        player, generated, total = self.network.discriminator, self._generated(random), 0.0
        for batch in self._batches(random):
            users, real, fake = self.users[batch], self.items[batch], generated[batch]
            loss = bce(player(users, real), player(users, fake)[:, None])
            penalty = player.squares(users, torch.cat([real, fake]))
            _step(loss + self.model.regularization * penalty, self.discriminator_optimizer)
            total += float(loss.detach()) * len(batch)
        return total / max(len(self.items), 1)

    @torch.no_grad()
    def _generated(self, random: torch.Generator) -> torch.Tensor:
        """An item that the generator gives for each event, int64 [m]."""
        parts = []
        for start in range(0, self.chosen.shape[0], self.model.users_per_step):
            stop = min(start + self.model.users_per_step, self.chosen.shape[0])
            scores = self.network.generator.of_all_items(self._tensor(np.arange(start, stop)))
            counts = self._tensor(np.diff(self.chosen.indptr[start : stop + 1]))
            rows = torch.repeat_interleave(counts)
            p = torch.softmax(scores / self.model.temperature, dim=1)
            parts.append(draw(p, rows, random))
        return torch.cat(parts)

    def _train_generator(self, users: NDArray[np.int64], random: torch.Generator) -> float:
        observed = torch.from_numpy(self.chosen[users].toarray()).to(self.device)
        rows_of_users, players = self._tensor(users), self.network
        counts = observed.sum(1, keepdim=True)
        log_p = torch.log_softmax(players.generator.of_all_items(rows_of_users), dim=1)
        with torch.no_grad():
            p, share = log_p.exp(), self.model.positive_share
            q = (1 - share) * p + share * observed / counts
            rows = torch.repeat_interleave(2 * counts[:, 0].long())
            items = draw(q, rows, random)
            reward = 2 * torch.sigmoid(players.discriminator(rows_of_users[rows], items)) - 1
            weighted = reward * p[rows, items] / q[rows, items]
        loss = -policy_value(log_p[rows, items], weighted, rows, len(users)).sum()
        _step(loss / len(users), self.generator_optimizer)
        return float(weighted.mean())


def draw(p: torch.Tensor, rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """For each of `rows`, int64 [m], an item from that row of p, float32 [B, items]: int64 [m]."""
    steps = p.double().cumsum(1)
    steps = steps / steps[:, -1:] + torch.arange(len(p), device=p.device)[:, None]
    place = torch.rand(len(rows), generator=random, device=p.device, dtype=torch.float64) + rows
    # The first step above the place; at worst rounding would point one beyond the row.
    found = torch.searchsorted(steps.flatten(), place, right=True) - rows * p.shape[1]
    return found.clamp(max=p.shape[1] - 1)


def policy_value(
    log_p: torch.Tensor, rewards: torch.Tensor, rows: torch.Tensor, n: int
) -> torch.Tensor:
    """The mean of r ln p over the samples of each row: its gradient is REINFORCE's estimate of the
    gradient of the expected reward (Williams 1992).

    Args:
        log_p: float32 [m], ln p of each sample.
        rewards: float32 [m], its reward, times p/q where it was drawn from q.
        rows: int64 [m], the row it was drawn for.
        n: how many rows there are.

    Returns:
        float32 [n].
    """
    sums = torch.zeros(n, device=log_p.device).index_add(0, rows, log_p * rewards)
    return sums / torch.bincount(rows, minlength=n).clamp(min=1)


def _step(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
