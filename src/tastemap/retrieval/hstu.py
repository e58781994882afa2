"""Attention without a softmax over a history and its times."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from tastemap.hyperparameters import assigned_by_fit
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.event_kinds import EventKinds
from tastemap.nn.pointwise_attention import TransductionUnit
from tastemap.nn.relative_bias import RelativeBias, time_gaps
from tastemap.retrieval.parts.attention_layers import AttentionLayers
from tastemap.retrieval.parts.chosen_objective import ChosenObjective
from tastemap.retrieval.parts.next_item import SequenceNetwork
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["HSTU", "HSTUNetwork"]


class HSTUNetwork(SequenceNetwork):
    """Embedded items through layers that know how far apart in place and time two events are.

    Args:
        items: the table of items.
        kinds: added to the embedded items.
        units: one after the other.
        dropout: share of the embedded items' dimensions that are dropped.
    """

    def __init__(
        self,
        items: EmbeddingTable,
        kinds: EventKinds,
        units: list[TransductionUnit],
        dropout: float,
    ) -> None:
        super().__init__()
        self.items, self.kinds = items, kinds
        self.dropout = Dropout(dropout)
        self.units = nn.ModuleList(units)
        self.norm = nn.LayerNorm(items.weight.shape[1])

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        x = self.items(batch.items) * math.sqrt(self.items.weight.shape[1])
        x = self.dropout(self.kinds(x, batch.kinds))
        gaps = time_gaps(batch.times, batch.packing)
        for unit in self.units:
            x = unit(x, batch.packing, gaps)
        normed: torch.Tensor = self.norm(x)
        return normed


class HSTU(AttentionLayers, ChosenObjective):
    """What comes next, from what a user did and when.

    Zhai et al. (2024), the encoder with which they compare on public data: layers in which a
    position gathers what came before it by SiLU(Q Kᵀ + bias) instead of a softmax, so that the
    strength of a taste counts and not only its share, and a gate in place of a feed-forward layer.
    The bias is learned for each distance in places and for each of 129 logarithmic buckets of the
    time between two events. Data without times have the bias of places alone.

    The authors' code measures time from the next event, the one to be foretold, back to an earlier
    one. Here it is the time between two events of the history: when the next event takes place is
    not known where an answer is made in advance, and films rated in one go give away by it what
    comes next, which no other model here is told. Other differences: the softmax over all items
    and a layer norm of the last layer, where the authors draw 128 items and compare by cosine with
    a temperature of 0.05; item vectors alone go in, without vectors for places.

    Whoever asks is encoded from the history of the query, so that an event changes the answer
    without any training. Time and memory grow with the square of `max_length`.

    Attributes:
        network: the table of items and the layers.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "hstu"
    paper: ClassVar[str] = (
        "Zhai et al. 2024, Actions Speak Louder than Words: Trillion-Parameter Sequential "
        "Transducers for Generative Recommendations (ICML)"
    )

    network: HSTUNetwork = assigned_by_fit()

    def make_network(self) -> HSTUNetwork:
        units = [
            TransductionUnit(
                self.dim,
                self.heads,
                -(-self.dim // self.heads),
                RelativeBias(self.max_length, self.data.has_times),
                self.max_length,
                self.dropout_share(),
            )
            for _ in range(self.blocks)
        ]
        return HSTUNetwork(self.item_table(), self.kind_table(), units, self.dropout_share())
