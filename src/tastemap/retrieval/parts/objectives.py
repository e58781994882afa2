"""How wrong the vectors of positions are about what came next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from tastemap.data.histories import Histories
from tastemap.losses import bce, gbce, sampled_softmax, softmax
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.module import tensor_of
from tastemap.training.sequence_batches import SequenceBatch

__all__ = [
    "FullSoftmax",
    "GeneralizedBCE",
    "Objective",
    "OneNegative",
    "SampledSoftmax",
    "SharedNegatives",
    "not_chosen",
]


class Objective(Protocol):
    """How wrong the vectors of positions are about what came next."""

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        """A scalar, the mean over the targets of a batch, times their weights, of as many vectors
        [T, dim]."""


class FullSoftmax:
    """Cross-entropy over all items, which makes SASRec stronger than BERT4Rec (Klenitskiy &
    Vasilev 2023, "Turning Dross into Gold Loss").

    Args:
        items: the table of items.
        biases: float32 [item rows], added to the items' scores; None for 0.
    """

    def __init__(self, items: EmbeddingTable, biases: torch.Tensor | None = None) -> None:
        self.items, self.biases = items, biases

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        # Without row 0, the unknown, which nobody chooses.
        biases = None if self.biases is None else self.biases[1:]
        items, targets = self.items.weight[1:], batch.targets - 1
        return softmax(found, items, targets, biases, weights=batch.weights)


def not_chosen(histories: Histories, n_items: int, device: str) -> UniformSampler:
    """What draws items, of item rows 1 to `n_items` - 1, that are not in the history of a row."""
    users, chosen = (
        tensor_of(rows, device) for rows in (histories.rows_of_events(), histories.items)
    )
    return UniformSampler(n_items, users, chosen)


class OneNegative:
    """Binary cross-entropy against one item a position, drawn from all that the user has not chosen
    (Kang & McAuley 2018, section 3.3).

    Args:
        scores: of what is found at positions [T, ...] and item rows int64 [T, 2], float [T, 2].
        sampler: what the items are drawn by.
    """

    def __init__(
        self, scores: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], sampler: UniformSampler
    ) -> None:
        self.scores, self.sampler = scores, sampler

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        users = batch.rows[batch.packing.sequences]
        drawn = self.sampler.sample(users, batch.targets, 1, generator)
        scores = self.scores(found, torch.cat([batch.targets[:, None], drawn.ids], 1))
        return bce(scores[:, 0], scores[:, 1:], drawn.mask, weights=batch.weights)


class SharedNegatives:
    """Scores of the targets, and of items drawn uniformly that all positions of a sequence share.

    Args:
        items: the table of items.
        sampler: what the items are drawn by.
        n: how many for each sequence.
    """

    def __init__(self, items: EmbeddingTable, sampler: UniformSampler, n: int) -> None:
        self.items, self.sampler, self.n = items, sampler, n

    def scores(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """float32 [T] of the targets; float32 [T, n] of the drawn, their log_q and mask."""
        assert batch.targets is not None
        # Nothing that a user has chosen is drawn, so no positive has to be named.
        nobody = torch.zeros_like(batch.rows)
        drawn = self.sampler.sample(batch.rows, nobody, self.n, generator)
        vectors, sequences = self.items(drawn.ids), batch.packing.sequences
        of_buckets = vectors.split([bucket.shape[0] for bucket in batch.packing.buckets])
        # In bfloat16 each shape is compiled first, and those of buckets are always new.
        with torch.autocast(found.device.type, enabled=False):
            found = found.float()
            rows = zip(batch.packing.pad(found), of_buckets, strict=True)
            negative = batch.packing.pack([x @ v.mT for x, v in rows])
        positive = (found * self.items(batch.targets)).sum(-1)
        return positive, negative, drawn.log_q[sequences], drawn.mask[sequences]


class SampledSoftmax(SharedNegatives):
    """Softmax over the target and drawn items, corrected for how they were drawn (log-Q)."""

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        return sampled_softmax(*self.scores(found, batch, generator), weights=batch.weights)


class GeneralizedBCE(SharedNegatives):
    """gBCE (Petrov & Macdonald 2023, gSASRec), against overconfidence.

    Args:
        items, sampler, n: as for `SharedNegatives`.
        t: how much of it is corrected, 0 to 1.
    """

    def __init__(self, items: EmbeddingTable, sampler: UniformSampler, n: int, t: float) -> None:
        super().__init__(items, sampler, n)
        self.t = t

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        positive, negative, _, mask = self.scores(found, batch, generator)
        n_items = len(self.items.weight) - 1
        return gbce(positive, negative, mask, n_items=n_items, t=self.t, weights=batch.weights)
