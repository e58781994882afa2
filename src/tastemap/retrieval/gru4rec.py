"""A recurrent network over a history."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tastemap.data.histories import Histories
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.losses import bpr_max, sampled_softmax, top1_max
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.event_kinds import EventKinds
from tastemap.nn.initializers import xavier_
from tastemap.nn.recurrent import Recurrent
from tastemap.retrieval.base import cosines
from tastemap.retrieval.parts.next_item import NextItemRetriever, SequenceNetwork
from tastemap.retrieval.parts.objectives import FullSoftmax, Objective
from tastemap.sampling.popularity import popularity_of
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["GRU4Rec", "RecurrentNetwork"]

# Of float32 [T] and [T, n], the scores of what came next and of drawn items, which of these count,
# bool [T, n], and ln q [n] of each.
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class RecurrentNetwork(SequenceNetwork):
    """Embedded items through recurrent layers; the vector of a position is (h_t, 1).

    Args:
        items: the table [item rows, dim + 1] of (q, c).
        kinds: added to the embedded items.
        layers: one after the other, each of positions [T, dim] and their packing.
        embedding_dropout, dropout: shares of the dimensions of embedded items, and of what each
            layer gives, that are dropped.
    """

    def __init__(
        self,
        items: EmbeddingTable,
        kinds: EventKinds,
        layers: list[Recurrent],
        embedding_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.items, self.kinds, self.layers = items, kinds, nn.ModuleList(layers)
        self.embedding_dropout, self.dropout = Dropout(embedding_dropout), Dropout(dropout)

    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        x = self.kinds(self.items(batch.items)[:, :-1], batch.kinds)
        x = self.embedding_dropout(x)
        for layer in self.layers:
            x = self.dropout(layer(x, batch.packing))
        return functional.pad(x, (0, 1), value=1.0)


class SharedSample:
    """A loss against items that all positions of a batch share (Hidasi & Karatzoglou 2018, 3.1).

    Some are what comes next at other positions of the batch, that is, drawn by popularity; the
    others are drawn by a power of it. Only the sample is scored. Scores, float32 [T, sample], and
    what a loss makes of them stand in memory some ten times over.

    Args:
        items: the table of items.
        counts: int64 [item rows], how often each was chosen.
        of_batch, drawn: how many of each kind.
        exponent: α, of those that are drawn.
        loss: of the scores.
    """

    def __init__(
        self,
        items: EmbeddingTable,
        counts: torch.Tensor,
        of_batch: int,
        drawn: int,
        exponent: float,
        loss: Loss,
    ) -> None:
        self.items, self.of_batch, self.drawn, self.loss = items, of_batch, drawn, loss
        p = popularity_of(counts, exponent)
        self.cumulative = p.cumsum(0)
        both = of_batch * popularity_of(counts, 1.0) + drawn * p
        self.log_q = (both / (of_batch + drawn)).log().float()

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        targets, c = batch.targets, self.cumulative
        others = torch.randint(
            len(targets), (self.of_batch,), generator=generator, device=targets.device
        )
        at = torch.rand(self.drawn, generator=generator, device=c.device, dtype=c.dtype) * c[-1]
        drawn = torch.searchsorted(c, at, right=True).clamp(max=len(c) - 1)
        sample = torch.cat([targets[others], drawn])
        chosen, shared = self.items(torch.cat([targets, sample])).split((len(targets), len(sample)))
        positive = (found.float() * chosen).sum(1)
        negative = (found @ shared.T).float()
        return self.loss(positive, negative, sample != targets[:, None], self.log_q[sample])


class GRU4Rec(NextItemRetriever):
    """Recurrent units that read a history and foretell, after each item, the next one.

        h_t = GRU(q_{i_t}, h_{t-1}),  h_0 = 0;      x_i = h_t · q_i + c_i

    (Hidasi et al. 2016), trained by the softmax over all items, or against a sample that a batch
    shares: by cross-entropy, BPR-max or TOP1-max (Hidasi & Karatzoglou 2018). What is read and what
    is foretold have one table, the authors' constrained embedding, and each item a bias.

    Hidasi & Czapp (2023), "The Effect of Third Party Implementations on Reproducibility" (RecSys),
    list what others did wrong. Here a state is 0 where a history begins, in training and in
    answers, and nowhere else; scores are normalised once, after the sample is drawn, and only those
    of the sample are computed; BPR-max has its penalty, and sums of logarithms that cannot be those
    of 0; embedded items and states have each their own dropout, a share that is dropped; tables
    have a bias and weights begin by Glorot's rule; λ and α are to be set; and no history is
    left out because it would not fill a batch.

    What differs from the authors: a batch is of whole windows of histories, where they take one
    event of each of many sessions lying side by side, so that gradients go back through a window
    and not through one step; the dropout of a state is not carried on to the next; a target is
    never its own negative; Adam in place of Adagrad. As in their own version for torch, the reset
    gate comes after the product (`tastemap.nn.recurrent`). As published it is
    GRU4Rec(objective="bpr_max", negatives=2048) or objective="sampled_softmax" with correction=0,
    and item2vec_epochs=0.

    A step holds about 10 dim numbers for each of `batch_size` positions and, unless the objective
    is the softmax, 10 for each position and each item of the sample: 4,096 positions and 512 items
    take 85 MB; and gradients and Adam's moments are twice the table.

    Whoever asks is encoded from the last `max_length` events of the query, so that an event changes
    the answer without any training.

    Attributes:
        network: the table of items, (q, c), and the recurrent layers.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "gru4rec"
    paper: ClassVar[str] = (
        "Hidasi, Karatzoglou, Baltrunas & Tikk 2016, Session-based Recommendations with Recurrent "
        "Neural Networks (ICLR); Hidasi & Karatzoglou 2018, Recurrent Neural Networks with Top-k "
        "Gains for Session-based Recommendations (CIKM)"
    )

    objective: Literal["softmax", "sampled_softmax", "bpr_max", "top1_max"] = hyperparameter(
        default="softmax",
        help="softmax over all items or over a sample; a ranking loss against the hardest of one",
    )
    batch_negatives: int = hyperparameter(
        default=32, help="items of a sample that come next elsewhere in the batch", ge=0
    )
    negatives: int = hyperparameter(
        default=512, help="items of a sample that are drawn by popularity^α", ge=1, log=True
    )
    popularity_exponent: float = hyperparameter(
        default=0.5, help="α, how much more often popular items are drawn", ge=0, le=2
    )
    correction: float = hyperparameter(
        default=1.0, help="how much of log-Q is corrected; for sampled_softmax", ge=0, le=1
    )
    score_penalty: float = hyperparameter(
        default=1.0, help="λ of bpr_max, on the scores of drawn items", ge=0
    )
    elu: float = hyperparameter(
        default=0.5, help="α of the ELU of scores that bpr_max sees; 0 for none", ge=0, le=10
    )
    cell: Literal["gru", "lstm"] = hyperparameter(default="gru", help="of the recurrent layers")
    layers: int = hyperparameter(default=1, help="recurrent layers", ge=1, le=16)
    embedding_dropout: float = hyperparameter(
        default=0.2, help="share of an embedded item's dimensions dropped", ge=0, lt=1
    )
    dropout: float = hyperparameter(
        default=0.2, help="share of what a recurrent layer gives that is dropped", ge=0, lt=1
    )

    max_length: int = hyperparameter(
        default=50, help="events of a history that are looked at", ge=1, le=1 << 16, log=True
    )
    learning_rate: float = hyperparameter(
        default=5e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=1024, help="events in a step", ge=1, log=True, tuned=False
    )

    network: RecurrentNetwork = assigned_by_fit()

    def make_network(self) -> RecurrentNetwork:
        items = EmbeddingTable(
            len(self.items), self.dim + 1, sparse=self.objective != "softmax", initialize=xavier_
        )
        with torch.no_grad():
            items.weight[:, -1] = 0
        layers = [Recurrent(self.dim, self.cell) for _ in range(self.layers)]
        return RecurrentNetwork(
            items, self.kind_table(), layers, self.embedding_dropout, self.dropout
        )

    def make_objective(self, histories: Histories, device: str) -> Objective:
        items = self.network.items
        if self.objective == "softmax":
            return FullSoftmax(items)
        losses: dict[str, Loss] = {
            "sampled_softmax": self._sampled_softmax,
            "bpr_max": self._bpr_max,
            "top1_max": lambda positive, negative, mask, _: top1_max(positive, negative, mask),
        }
        counts = torch.bincount(torch.from_numpy(histories.items), minlength=len(self.items))
        return SharedSample(
            items,
            counts.to(device),
            self.batch_negatives,
            self.negatives,
            self.popularity_exponent,
            losses[self.objective],
        )

    def _sampled_softmax(
        self,
        positive: torch.Tensor,
        negative: torch.Tensor,
        mask: torch.Tensor,
        log_q: torch.Tensor,
    ) -> torch.Tensor:
        # With log_q = -ln n for all, the loss is the plain softmax over the target and the sample.
        plain = torch.full_like(log_q, -math.log(len(log_q)))
        return sampled_softmax(positive, negative, plain.lerp(log_q, self.correction), mask)

    def _bpr_max(
        self,
        positive: torch.Tensor,
        negative: torch.Tensor,
        mask: torch.Tensor,
        log_q: torch.Tensor,
    ) -> torch.Tensor:
        if self.elu > 0:
            positive, negative = (functional.elu(x, self.elu) for x in (positive, negative))
        return bpr_max(positive, negative, mask, regularization=self.score_penalty)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of q alone: a bias says how good an item is, not what it is like.
        return cosines(self.item_vectors()[:, :-1], items)
