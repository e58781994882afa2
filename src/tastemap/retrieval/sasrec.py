"""Self-attention over a history."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn

from tastemap.hyperparameters import assigned_by_fit
from tastemap.nn.attention import CausalSelfAttention
from tastemap.nn.blocks import Block
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.event_kinds import EventKinds
from tastemap.nn.positions import LearnedPositions
from tastemap.retrieval.parts.chosen_objective import ChosenObjective
from tastemap.retrieval.parts.next_item import SequenceNetwork
from tastemap.retrieval.parts.transformer import Transformer, xavier_linear_
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["SASRec", "SASRecNetwork"]


class SASRecNetwork(SequenceNetwork):
    """Embedded items through blocks of attention.

    Args:
        items: the table of items.
        kinds: added to the embedded items.
        positions: added to the embedded items; None where attention tells places apart itself.
        blocks: one after the other, each of positions [T, dim] and their packing.
        dropout: share of the embedded items' dimensions that are dropped.
    """

    def __init__(
        self,
        items: EmbeddingTable,
        kinds: EventKinds,
        positions: LearnedPositions | None,
        blocks: list[Block],
        dropout: float,
    ) -> None:
        super().__init__()
        self.items, self.kinds, self.positions = items, kinds, positions
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(items.weight.shape[1])
        xavier_linear_(self)

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        # Scaled, so that the items are not lost beside the positions (Vaswani et al. 2017, 3.4).
        x = self.items(batch.items) * math.sqrt(self.items.weight.shape[1])
        x = self.kinds(x, batch.kinds)
        if self.positions is not None:
            x = self.positions(x, batch.packing.places)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, batch.packing)
        normed: torch.Tensor = self.norm(x)
        return normed


class SASRec(Transformer, ChosenObjective):
    """What comes next, from self-attention over what a user did.

    Kang & McAuley (2018): the items of a history, each with its place, go through blocks of
    attention in which a position sees itself and what came before it, and a feed-forward layer.
    The vector of a position, times the vector that the same table has for an item, scores that item
    as the next one. All positions learn at once. Items are embedded times sqrt(dim), and these
    vectors have dropout, as all that a layer gives; the attention's own weights have none.

    The defaults are a modern body: gated blocks and feed-forward layers (LiGR, Borisyuk et al.
    2025), rotary positions, and the softmax over all items, with which SASRec is better than
    BERT4Rec (Klenitskiy & Vasilev 2023). With objective="sampled_softmax" and learned positions it
    is eSASRec (Tikhonovich et al. 2025); with objective="gbce", gSASRec (Petrov & Macdonald 2023).
    As published it is SASRec(objective="bce", block="pre_norm", feed_forward="relu", widening=1,
    positions="learned", item2vec_epochs=0).

    Whoever asks is encoded from the history of the query, so that an event changes the answer
    without any training.

    Attributes:
        network: the table of items and the blocks.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "sasrec"
    paper: ClassVar[str] = "Kang & McAuley 2018, Self-Attentive Sequential Recommendation (ICDM)"

    network: SASRecNetwork = assigned_by_fit()

    def make_network(self) -> SASRecNetwork:
        blocks = self.make_blocks(CausalSelfAttention, hidden_dropout=self.dropout_share())
        return SASRecNetwork(
            self.item_table(),
            self.kind_table(),
            self.make_positions(),
            blocks,
            self.dropout_share(),
        )
