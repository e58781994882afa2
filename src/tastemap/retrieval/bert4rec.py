"""Self-attention in both directions over a history in which items are hidden."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.attention import BidirectionalSelfAttention
from tastemap.nn.blocks import Block
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.event_kinds import EventKinds
from tastemap.nn.initializers import normal_
from tastemap.nn.positions import LearnedPositions
from tastemap.retrieval.parts.factor_model import BiasedVectors
from tastemap.retrieval.parts.next_item import NextItemRetriever, SequenceNetwork
from tastemap.retrieval.parts.objectives import FullSoftmax
from tastemap.retrieval.parts.transformer import Transformer, xavier_linear_
from tastemap.training.masked_batches import MaskedBatches
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["BERT4Rec", "BERT4RecNetwork"]

# Of the first vectors, as in BERT.
_DEVIATION = 0.02


class BERT4RecNetwork(SequenceNetwork):
    """Embedded items and masks through blocks of attention.

    Args:
        items: the table of items.
        kinds: added to the embedded items.
        positions: added to what is embedded; None where attention tells places apart itself.
        blocks: one after the other, each of positions [T, dim] and their packing.
        dropout: share of the embedded dimensions that are dropped.

    Attributes:
        mask: float32 [dim], stands where an item is hidden; it is no row of the table, so that it
            cannot be recommended.
        biases: float32 [item rows], added to the items' scores, b^O.
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
        n_items, dim = items.weight.shape
        self.items, self.kinds, self.positions = items, kinds, positions
        self.mask = nn.Parameter(torch.empty(dim))
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.head, self.head_norm = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.biases = nn.Parameter(torch.zeros(n_items))
        normal_(self.mask, _DEVIATION)
        xavier_linear_(self)

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """float [m, dim] of the m hidden positions of a batch, LayerNorm(GELU(h W^P + b^P)) (eq. 7;
        the norm is that of the authors' program)."""
        hidden = batch.hidden
        assert hidden is not None
        masks = self.mask.expand(len(hidden), -1)
        x = self.kinds(self.items(batch.items), batch.kinds)
        x = x.index_copy(0, hidden, masks.to(x.dtype))
        if self.positions is not None:
            x = self.positions(x, batch.packing.later)
        x = self.dropout(self.norm(x))
        *before, last = self.blocks
        for block in before:
            x = block(x, batch.packing)
        assert isinstance(last, Block)
        # From here on nothing looks at the other positions any more.
        x = last.feed(last.attend(x, batch.packing).index_select(0, hidden))
        normed: torch.Tensor = self.head_norm(functional.gelu(self.head(x)))
        return normed


class BERT4Rec(Transformer, BiasedVectors, NextItemRetriever):
    """What comes next, from self-attention both ways over what a user did.

    Sun et al. (2019): of a history some items are hidden behind a mask, and the network, in which
    each position sees all others, learns to tell them (Cloze, eq. 8). Blocks of attention and of a
    feed-forward layer with GELU are followed by one more such layer; its product with the vectors
    that the same table has for the items, and a bias of each item, is the score (eq. 7). Who asks
    what comes next puts a mask after the history. In a share of the windows only the last event is
    hidden, which is that task (section 3.6). As in the authors' program what is embedded has a
    norm, and the last layer too.

    Where it is not the paper's: places are counted back from the end, so that what is asked for
    always stands at the same one; a batch has as many hidden positions as the probability says, not
    each drawn by itself; attention's own weights have no dropout; Adam begins with its full step,
    without decay of the weights. An epoch hides other events than the one before: training must be
    long (Petrov & Macdonald 2022, "A Systematic Review and Replicability Study of BERT4Rec"), and
    hiding more than the paper's 0.2 learns more from each pass.

    The defaults are a modern body, which learns in fewer passes: gated blocks and feed-forward
    layers (LiGR, Borisyuk et al. 2025) and rotary positions. As published it is
    BERT4Rec(block="post_norm", feed_forward="gelu", widening=4, positions="learned",
    mask_probability=0.2, last_probability=0.1, item2vec_epochs=0).

    Whoever asks is encoded from the history of the query, so that an event changes the answer
    without any training.

    Attributes:
        network: the table of items, their biases, and the blocks.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "bert4rec"
    paper: ClassVar[str] = (
        "Sun et al. 2019, BERT4Rec: Sequential Recommendation with Bidirectional Encoder "
        "Representations from Transformer (CIKM)"
    )

    mask_probability: float = hyperparameter(
        default=0.3, help="share of the events that are hidden", gt=0, le=1
    )
    last_probability: float = hyperparameter(
        default=0.0, help="share of windows in which nothing but the last event is hidden",
        ge=0, le=1,
    )  # fmt: skip
    max_length: int = hyperparameter(
        default=200, help="events looked at, with the one asked for", ge=2, le=1 << 16, log=True
    )
    epochs: int = hyperparameter(
        default=30, help="passes over the events", ge=1, log=True, tuned=False
    )

    batch_size: int = hyperparameter(
        default=2048, help="events in a step", ge=1, log=True, tuned=False
    )

    network: BERT4RecNetwork = assigned_by_fit()

    def make_network(self) -> BERT4RecNetwork:
        # As in BERT, what a layer gives has dropout, and its hidden units have none.
        blocks = self.make_blocks(BidirectionalSelfAttention, hidden_dropout=0.0)
        return BERT4RecNetwork(
            self.item_table(),
            self.kind_table(),
            self.make_positions(),
            blocks,
            self.dropout_share(),
        )

    def make_objective(self, histories: Histories, device: str) -> FullSoftmax:
        return FullSoftmax(self.network.items, self.network.biases)

    def make_batches(self, histories: Histories, device: str | torch.device) -> MaskedBatches:
        return MaskedBatches(
            histories, self.max_length, self.mask_probability, self.last_probability, device
        )

    def _items(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        items, biases = self.network.items.weight, self.network.biases
        return items.detach().cpu().numpy(), biases.detach().cpu().numpy()

    def _users(self, queries: Queries) -> NDArray[np.float32]:
        return NextItemRetriever.encode_queries(self, queries)
