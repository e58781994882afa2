"""What models share that foretell the next item from a history and a profile, either of which may
be missing."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.attribute_bag import AttributeBag, SparseRows
from tastemap.retrieval.parts.attributes import Attributes
from tastemap.retrieval.parts.next_item import TILE_POSITIONS, NextItemRetriever, SequenceNetwork
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["ProfiledNetwork", "ProfiledRetriever", "attributes_of"]

# Knots of a number's encoding. An age or a year has different tastes at its two ends and between.
_KNOTS = 8


class ProfiledNetwork(SequenceNetwork):
    """A vector of each position from a summary of what came before, and from a profile.

    Args:
        data: whose user table says what is known of whose histories are trained on.
        dim: length of the vectors that profiles get.
        hot_dropout: share of the positions whose summary is hidden in training, of those who have
            a profile, so that a profile alone gets an answer (Volkovs et al. 2017).
    """

    def __init__(self, data: Dataset, dim: int, hot_dropout: float) -> None:
        super().__init__()
        self.attributes, self.hot_dropout = attributes_of(data.user_table, "user"), hot_dropout
        n_users = len(data.users)
        encoded = self.attributes.encode(data.profiles(np.arange(n_users)), n_users)
        self.profiles = SparseRows(encoded)
        self.profile_bag = AttributeBag(len(self.attributes), dim)

    @abstractmethod
    def summaries(self, batch: SequenceBatch) -> torch.Tensor:
        """What the history says at each position of a batch, float [T, summary]."""

    @abstractmethod
    def empty_summaries(self, n: int) -> torch.Tensor:
        """The summaries of n histories without events, float [n, summary], all 0."""

    @abstractmethod
    def answers(
        self, summaries: torch.Tensor, profiles: torch.Tensor, as_of: torch.Tensor
    ) -> torch.Tensor:
        """Vectors [n, dim] of summaries [n, summary], bags of profiles [n, dim], and the moments of
        asking, float64 [n] Unix seconds, inf for now."""

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        assert batch.target_times is not None
        sequences = batch.packing.sequences
        summaries = self.summaries(batch)
        if self.training and self.hot_dropout > 0:
            seen = torch.rand(len(sequences), device=sequences.device) >= self.hot_dropout
            seen |= ~self.profiles.told(batch.rows)[sequences]
            summaries = summaries * seen[:, None]
        profiles = self.profile_bag(self.profiles, batch.rows)
        return self.answers(summaries, profiles[sequences], batch.target_times)


class ProfiledRetriever(NextItemRetriever):
    """A next-item model that also looks at the profile of who asks."""

    network: ProfiledNetwork = assigned_by_fit()

    hot_dropout: float = hyperparameter(
        default=0.1,
        help="share of examples that are seen without what behaviour tells of them, so that "
        "attributes can stand for those who have none",
        ge=0,
        lt=1,
    )

    def known_items(self, histories: Histories) -> Histories:
        """The events of a history that the model can read."""
        return self.seen_in_training(histories)

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        has_history: NDArray[np.bool_] = self.known_items(queries.histories).counts > 0
        if has_history.all():
            return has_history
        profiles = self._profiles(queries.profile, len(queries))
        has_profile: NDArray[np.bool_] = profiles.told(torch.arange(len(queries))).numpy()
        return has_history | has_profile

    @torch.inference_mode()
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """float32 [B, dim]; 0 where neither history nor profile say anything."""
        tile = max(1, TILE_POSITIONS // self.max_length)
        parts = [self._encode(part) for _, part in queries.tiles(tile)]
        if not parts:
            return np.zeros((0, self.item_vectors().shape[1]), np.float32)
        return np.concatenate(parts)

    def _encode(self, queries: Queries) -> NDArray[np.float32]:
        n, device = len(queries), self.device
        known = self.known_items(queries.histories)
        summaries = self.network.empty_summaries(n)
        if known.n_events:
            batch = self.make_batches(known, device).recent()
            summaries[batch.rows] = self.network.summaries(batch)[batch.packing.last]
        profiles = self._profiles(queries.profile, n).to(device)
        rows = torch.arange(n, device=device)
        as_of = self.to_tensor(queries.as_of)
        vectors = self.network.answers(summaries, self.network.profile_bag(profiles, rows), as_of)
        anything = self.to_tensor(known.counts > 0) | profiles.told(rows)
        return (vectors * anything[:, None]).float().cpu().numpy()

    def _profiles(self, table: pl.DataFrame | None, n: int) -> SparseRows:
        return SparseRows(self.network.attributes.encode(table, n))


def attributes_of(table: pl.DataFrame | None, key: str) -> Attributes:
    """How a table, whose ids stand in the column `key`, becomes numbers."""
    return Attributes(None if table is None else table.drop(key), knots=_KNOTS)
