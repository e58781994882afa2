"""Matrix factorization by torch, event by event, on any device."""

from __future__ import annotations

import math

import numpy as np
import torch

from tastemap.data.histories import Histories
from tastemap.losses import bce, bpr, huber, mse
from tastemap.retrieval.matrix_factorization_training import Settings, TableTrainer
from tastemap.sampling.fixed import FixedSampler
from tastemap.sampling.hard import HardSampler
from tastemap.sampling.in_batch import InBatchSampler
from tastemap.sampling.popularity import PopularitySampler
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.module import generator_of
from tastemap.training.schedule import lower_rate

__all__ = ["TorchTrainer", "propensity_weights", "sampler_of"]

# Of hard negatives: how many each is chosen from, and the share of the highest that is passed over.
_POOL, _SKIPPED = 16, 0.0625
# No event weighs more than this many times the most popular item's.
_HIGHEST_WEIGHT = 10.0


class TorchTrainer(TableTrainer):
    """Epochs of mini-batches of events, with the loss of the kernels or one they do not have.

    All events of a batch take their step from the same place. For SGD that comes near to one step
    after the other while a row occurs rarely in a batch; where a popular row occurs so often that
    its steps would add up to an overshoot, they are shortened. "bce", whose scores have to grow
    much farther, is trained by Adam, as in He et al. 2017.
    """

    def __init__(
        self, settings: Settings, histories: Histories, n_items: int, mean: float, device: str
    ) -> None:
        super().__init__(settings, histories, n_items, mean, device)
        columns = self.users.astype(np.int64), self.items.astype(np.int64), self.values
        weights = propensity_weights(
            np.bincount(self.items, minlength=n_items), settings.propensity_exponent
        )
        self.events = [
            torch.from_numpy(column).to(device) for column in (*columns, weights[self.items])
        ]
        kind = torch.optim.SparseAdam if settings.loss == "bce" else torch.optim.SGD
        self.optimizer: torch.optim.Optimizer = kind(
            list(self.tables.parameters()), lr=settings.learning_rate
        )
        if not settings.of_ratings:
            self.sampler = sampler_of(settings, n_items, *self.events[:2])
            pool = settings.negatives * _POOL
            self.hard = HardSampler(self.sampler, self._scores, pool, _SKIPPED)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        generator = generator_of(rng, self.device)
        rate = lower_rate(self.optimizer, epoch, self.settings.epochs)
        n = len(self.values)
        order = torch.randperm(n, generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in torch.split(order, self.settings.batch_size):
            self.optimizer.zero_grad()
            users, items, values, weights = (column[batch] for column in self.events)
            if self.settings.of_ratings:
                loss, objective = self._of_ratings(users, items, values)
                touched = items
            else:
                loss, objective, touched = self._of_ranking(users, items, weights, generator)
            (objective * len(batch)).backward()  # type: ignore[no-untyped-call]
            t = self.tables
            if isinstance(self.optimizer, torch.optim.SGD):
                for table, rows in ((t.P, users), (t.b, users), (t.Q, touched), (t.c, touched)):
                    _shorten(table.weight, rows, rate)
            self.optimizer.step()
            total += loss.detach() * len(batch)
        average = total.item() / max(n, 1)
        if self.settings.loss == "mse":
            return {"train_rmse": math.sqrt(average)}
        return {"train_loss": average}

    def _of_ratings(
        self, users: torch.Tensor, items: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch, and what to descend on: halved, as a kernel's step is."""
        loss = (mse if self.settings.loss == "mse" else huber)(self.tables(users, items), values)
        return loss, (loss + self._penalty(users, items)) / 2

    def _of_ranking(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        weights: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The loss of a batch, what to descend on, and the items chosen and drawn."""
        n = self.settings.negatives
        if self.settings.sampler == "hard":
            negatives, mask = self.hard.draw(users, items, n, generator)
        else:
            negatives, _, mask = self.sampler.sample(users, items, n, generator)
        chosen, drawn = self.tables(users, items), self.tables(users[:, None], negatives)
        touched = torch.cat([items, negatives.flatten()])
        penalty = self._penalty(users, items, negatives) / 2
        if self.settings.loss == "bpr":
            loss = bpr(chosen, drawn, mask, weights=weights)
            return loss, loss + penalty, touched
        loss = bce(chosen, drawn, mask, weights=weights)
        # An event is one positive term and n negative ones, of which the loss is the mean.
        return loss, loss * (1 + n) + penalty, touched

    def _penalty(self, users: torch.Tensor, *items: torch.Tensor) -> torch.Tensor:
        """The weighted squares of what a batch touches, divided by its number of users; items
        [B, n] drawn for an event count as one."""
        s, t, size = self.settings, self.tables, len(users)
        vectors, biases = t.P(users).square().sum() / size, t.b(users).square().sum() / size
        for rows in items:
            vectors = vectors + t.Q(rows).square().sum() / rows.numel()
            biases = biases + t.c(rows).square().sum() / rows.numel()
        weighted: torch.Tensor = s.regularization * vectors + s.bias_regularization * biases
        return weighted

    def _scores(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.tables(users[:, None], items)
        return scores


def sampler_of(
    settings: Settings, n_items: int, users: torch.Tensor, items: torch.Tensor
) -> FixedSampler:
    """What negatives of the events of users and items, int64 [m], are drawn by, or, where they are
    hard, what their pools are drawn by."""
    if settings.sampler == "popularity":
        return PopularitySampler(n_items, users, items, settings.popularity_exponent)
    if settings.sampler == "in_batch":
        return InBatchSampler(n_items, users, items)
    return UniformSampler(n_items, users, items)


def propensity_weights(
    counts: np.ndarray[tuple[int], np.dtype[np.int64]], exponent: float
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """What an event of each item weighs, float32 [item rows], of mean 1 over the events.

    1 / propensity, where the probability that a user gets to see an item that would be liked is
    taken to be (n_i / max n)^γ (Saito et al. 2020, section 5.1, with γ = 0.5), cut off for the
    rarest so that no weight is above 10 times the least (their section 4.2: a little bias for much
    less variance).

    Args:
        counts: int64 [item rows], n.
        exponent: γ; with 0 all weights are 1.
    """
    share = counts / max(counts.max(initial=0), 1)
    weights = np.minimum(np.maximum(share, 1e-12) ** -exponent, _HIGHEST_WEIGHT)
    mean = (weights * counts).sum() / max(counts.sum(), 1)
    return np.asarray(weights / (mean or 1.0), np.float32)


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
