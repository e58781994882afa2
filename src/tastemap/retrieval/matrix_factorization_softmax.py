"""Matrix factorization by torch with a softmax over the items, user by user."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.losses import sampled_softmax, softmax
from tastemap.retrieval.matrix_factorization_torch import propensity_weights, sampler_of
from tastemap.retrieval.matrix_factorization_training import Settings, TableTrainer
from tastemap.training.module import generator_of
from tastemap.training.schedule import lower_rate

__all__ = ["SoftmaxTrainer"]


class SoftmaxTrainer(TableTrainer):
    """Epochs of mini-batches of users with all of their events, by Adam.

    What a softmax costs is its normalizer, and that is the same for all events of a user; so a step
    takes the events of `batch_size` users at once. Users' vectors have sparse gradients, those of
    items, which all compete in every step, dense ones.
    """

    def __init__(self, settings: Settings, histories: Histories, n_items: int, device: str) -> None:
        super().__init__(settings, histories, n_items, 0.0, device)
        known = histories.select(histories.items > 0)
        counts = np.bincount(known.items, minlength=n_items)
        weights = propensity_weights(counts, settings.propensity_exponent)[known.items]

        def tensor(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(device)

        self.offsets, self.item_rows = tensor(known.offsets), tensor(known.items.astype(np.int64))
        self.weights = tensor(weights)
        self.active = tensor(np.flatnonzero(known.counts))
        # What of a user's or an item's penalty an event is answerable for is its share in them.
        self.item_shares = tensor((counts / max(counts.sum(), 1)).astype(np.float32))
        self.unknown = torch.zeros(n_items, device=device)
        self.unknown[0] = -torch.inf
        t = self.tables
        self.optimizers = [
            torch.optim.SparseAdam([t.P.weight], lr=settings.learning_rate),
            torch.optim.Adam([t.Q.weight, t.c.weight], lr=settings.learning_rate),
        ]
        if settings.loss == "sampled_softmax":
            users = tensor(known.rows_of_events().astype(np.int64))
            self.sampler = sampler_of(settings, n_items, users, self.item_rows)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> dict[str, float]:
        generator = generator_of(rng, self.device)
        for optimizer in self.optimizers:
            lower_rate(optimizer, epoch, self.settings.epochs)
        order = torch.randperm(len(self.active), generator=generator, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in torch.split(self.active[order], self.settings.batch_size):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            rows, events = self._events_of(batch)
            p = self.tables.P(batch)
            if self.settings.loss == "softmax":
                loss = self._full(p, rows, events)
            else:
                loss = self._sampled(batch, p, rows, events, generator)
            (loss + self._penalty(p, rows) / 2).backward()  # type: ignore[no-untyped-call]
            for optimizer in self.optimizers:
                optimizer.step()
            total += loss.detach() * len(events)
        return {"train_loss": total.item() / max(len(self.item_rows), 1)}

    def _events_of(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The events of a batch of users and, for each, whose it is by its place in the batch."""
        first = self.offsets[users]
        counts = self.offsets[users + 1] - first
        rows = torch.repeat_interleave(counts)
        begins = counts.cumsum(0) - counts
        events = torch.arange(len(rows), device=rows.device) + (first - begins)[rows]
        return rows, events

    def _full(self, p: torch.Tensor, rows: torch.Tensor, events: torch.Tensor) -> torch.Tensor:
        t = self.tables
        bias = t.c.weight[:, 0] + self.unknown
        targets, weights = self.item_rows[events], self.weights[events]
        return softmax(p, t.Q.weight, targets, bias, rows=rows, weights=weights)

    def _sampled(
        self,
        users: torch.Tensor,
        p: torch.Tensor,
        rows: torch.Tensor,
        events: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """All events of a user have the same negatives."""
        items = self.item_rows[events]
        # Nothing that a user has chosen is drawn, so no positive has to be named; but the batch
        # that `InBatchSampler` takes negatives from must be made of events at random.
        positives = torch.zeros_like(users)
        if self.settings.sampler == "in_batch":
            draw = torch.randint(len(items), users.shape, generator=generator, device=users.device)
            positives = items[draw]
        drawn = self.sampler.sample(users, positives, self.settings.negatives, generator)
        negative = (p[:, None] * self._vectors(drawn.ids)).sum(-1) + self._biases(drawn.ids)
        # Not p[rows], whose gradient is added up in an order that depends on the threads.
        own = p.index_select(0, rows)
        positive = (own * self._vectors(items)).sum(-1) + self._biases(items)
        return sampled_softmax(
            positive,
            negative.index_select(0, rows),
            drawn.log_q[rows],
            drawn.mask[rows],
            weights=self.weights[events],
        )

    def _vectors(self, items: torch.Tensor) -> torch.Tensor:
        # Not the table's own look-up, whose gradient is sparse and would have to be sorted first.
        return torch.nn.functional.embedding(items, self.tables.Q.weight)

    def _biases(self, items: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(items, self.tables.c.weight).squeeze(-1)

    def _penalty(self, p: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The mean over events of the weighted squares of their user and item; for the users over
        the events of the batch, for the items over all."""
        s, t = self.settings, self.tables
        of_users = torch.bincount(rows, minlength=len(p)).to(p.dtype) @ p.square().sum(1)
        vectors = of_users / max(len(rows), 1) + self.item_shares @ t.Q.weight.square().sum(1)
        biases = self.item_shares @ t.c.weight[:, 0].square()
        weighted: torch.Tensor = s.regularization * vectors + s.bias_regularization * biases
        return weighted
