"""A memory of what a user did, from which each item reads what matters for it."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.losses import sampled_softmax
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.memory import FeatureMemory, read_slots, recent_items
from tastemap.retrieval.base import cosines
from tastemap.retrieval.parts.next_item import SequenceNetwork, SequenceRetriever
from tastemap.retrieval.parts.objectives import Objective, OneNegative, not_chosen
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["MemoryNetwork", "UserMemory"]

# Numbers of one tile of scores, with those of all slots.
_TILE_NUMBERS = 4 << 20


class UserMemory(SequenceNetwork):
    """What each position knows of its user, an intrinsic vector and a memory, and what items make
    of it.

    Args:
        items: the table of items q, which are scored and written.
        chosen: a second table of items y, whose mean over a history is the intrinsic vector.
        features: the memory of features; None for a memory of the last items.
        slots: K, of the memory.
        merge: α, the weight of what is read from the memory.
        strength: β, how sharply one slot is chosen.
        dropout: share of the dimensions of embedded items that are dropped.
    """

    def __init__(
        self,
        items: EmbeddingTable,
        chosen: EmbeddingTable,
        features: FeatureMemory | None,
        *,
        slots: int,
        merge: float,
        strength: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.items, self.chosen, self.features = items, chosen, features
        self.slots, self.merge, self.strength = slots, merge, strength
        self.dropout = Dropout(dropout)

    def tables(self) -> list[EmbeddingTable]:
        return [self.items, self.chosen]

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """float [T, 1 + K, dim]: the intrinsic vector and the slots, after each position."""
        packing = batch.packing
        rows = packing.pad(self.dropout(self.chosen(batch.items)))
        sums = packing.pack([of_bucket.cumsum(1) for of_bucket in rows])
        intrinsic = sums / (packing.places + 1)[:, None].sqrt()
        if self.features is None:
            memory = self.dropout(self.items(recent_items(batch.items, packing, self.slots)))
        else:
            memory = self.features(self.dropout(self.items(batch.items)), packing)
        return torch.cat([intrinsic[:, None], memory], 1)

    def scores(self, found: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """(p* + α p^m) · q, where p^m is what q reads from the memory, float [T, n].

        Args:
            found: float [T, 1 + K, dim], as `forward` gives it.
            items: float [n, dim], vectors q that all positions are scored with, or [T, n, dim].
        """
        memory = found[:, 1:]
        with torch.autocast(found.device.type, enabled=False):
            if self.features is None:
                read = read_slots(memory, items, self.strength)
            else:
                read = self.features.read(memory, items)
            return (found[:, :1] @ items.mT).squeeze(1) + self.merge * read


class SampledSoftmax:
    """Softmax over the target and items that all positions of a batch share, drawn uniformly and
    without replacement; the full softmax where there are no more items than that.

    Args:
        network: what scores.
        n: how many are drawn.
    """

    def __init__(self, network: UserMemory, n: int) -> None:
        self.network, self.n = network, n

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        n_items = len(self.network.items.weight) - 1
        drawn = 1 + torch.randperm(n_items, generator=generator, device=found.device)[: self.n]
        positive = self.network.scores(found, self.network.items(batch.targets[:, None]))
        negative = self.network.scores(found, self.network.items(drawn))
        # Of those that remain without the target each is as probable.
        log_q = torch.full_like(negative, -math.log(max(n_items - 1, 1)))
        mask = drawn != batch.targets[:, None]
        return sampled_softmax(positive.squeeze(1), negative, log_q, mask)


class MemoryNetwork(SequenceRetriever):
    """What comes next, from a memory that each item reads in its own way (RUM).

    Chen et al. (2018) keep what a user did in K slots m. An item q reads p^m = Σ_k z_k m_k, where z
    is a softmax of β times its products with the slots' keys, and its score is (p* + α p^m) · q,
    where p* is the user's own lasting vector (section 4.1). Two memories are published:

    - level="item" (section 4.2): the slots are the vectors of the last K items, first in, first
      out, and are their own keys.
    - level="feature" (section 4.3): the keys are a table of features that all users share. Each
      event erases and adds, as in a Neural Turing Machine, most where it looks like a key.

    Since the reading depends on the item there is no vector of the user to search by: every item is
    scored, by products of matrices.

    Not as published:

    - p* is not a row of a table of users, of whom nothing could be said to a stranger: it is the
      sum of vectors y of the history's items from a second table, over the square root of their
      number (SVD++, Koren 2008), at each position of what came until then.
    - Slots are 0 until they are written, and are read as such.
    - All positions of a history learn at once, each from the memory as it was then. The softmax
      over a sample is the default objective; binary cross-entropy, as published, is the other.
    - Dropout of embedded items stands in place of the L2 penalty.

    Attributes:
        network: the two tables of items and the memory.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "memorynetwork"
    paper: ClassVar[str] = (
        "Chen et al. 2018, Sequential Recommendation with User Memory Networks (WSDM)"
    )

    level: Literal["item", "feature"] = hyperparameter(
        default="item", help="what a slot of the memory stands for: a recent item, or a feature"
    )
    slots: int = hyperparameter(default=5, help="slots of the memory", ge=1, le=4096, log=True)
    merge: float = hyperparameter(
        default=1.0, help="α: weight of what is read from the memory", ge=0, search=(0.0, 2.0)
    )
    strength: float = hyperparameter(
        default=1.0, help="β: how sharply one slot is chosen", ge=0, search=(0.1, 10.0)
    )
    objective: Literal["sampled_softmax", "bce"] = hyperparameter(
        default="sampled_softmax",
        help="softmax over a sample of the items, or, as published, binary cross-entropy with one "
        "negative",
    )
    negatives: int = hyperparameter(
        default=128, help="items drawn for a step, for sampled_softmax", ge=1, log=True
    )
    dropout: float = hyperparameter(default=0.2, help="share of dimensions dropped", ge=0, lt=1)
    learning_rate: float = hyperparameter(
        default=5e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=1024, help="events in a step", ge=1, log=True, tuned=False
    )

    network: UserMemory = assigned_by_fit()

    def make_network(self) -> UserMemory:
        features = None
        if self.level == "feature":
            features = FeatureMemory(self.dim, self.slots, self.strength)
        return UserMemory(
            self.item_table(),
            self.item_table(),
            features,
            slots=self.slots,
            merge=self.merge,
            strength=self.strength,
            dropout=self.dropout,
        )

    def samples_items(self) -> bool:
        return True

    def make_objective(self, histories: Histories, device: str) -> Objective:
        if self.objective == "sampled_softmax":
            return SampledSoftmax(self.network, self.negatives)
        network = self.network
        return OneNegative(
            lambda found, rows: network.scores(found, network.items(rows)),
            not_chosen(histories, len(self.items), device),
        )

    @torch.inference_mode()
    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        vectors: torch.Tensor = self.network.items.weight
        if items is not None:
            vectors = vectors[self.to_tensor(items)]
        scores = np.zeros((len(queries), len(vectors)), np.float32)
        height = max(1, _TILE_NUMBERS // (self.slots * max(len(vectors), 1)))
        for rows, found in self._encoded(queries):
            for start in range(0, len(rows), height):
                tile = slice(start, start + height)
                scores[rows[tile]] = self.network.scores(found[tile], vectors).cpu().numpy()
        return scores

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine: by their scores long vectors, those of popular items, would be like all.
        return cosines(self.network.items.weight.detach().cpu().numpy(), items)
