"""Two towers over behaviour and attributes, trained against the items of the batch."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.losses import softmax
from tastemap.nn.attribute_bag import AttributeBag, SparseRows
from tastemap.nn.attribute_regression import AttributeRegression
from tastemap.nn.dropout import Dropout
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.prefix_means import prefix_means
from tastemap.retrieval.parts.objectives import Objective
from tastemap.retrieval.parts.profiled import ProfiledNetwork, ProfiledRetriever, attributes_of
from tastemap.sampling.streaming import StreamingFrequency
from tastemap.training.sequence_batches import SequenceBatch

__all__ = ["InBatchSoftmax", "ItemTower", "TwoTower", "TwoTowerNetwork"]

# Numbers of items are rounded up to these: oneDNN compiles a kernel for each new shape.
_BLOCK = 256
# Slots of the frequencies' arrays for each item, so that few share theirs.
_SLOTS = 4


class ItemTower(nn.Module):
    """v = x / |x|, x = e + c + MLP([e, c]), e of an item's id (hot), c of its attributes (cold).

    After training the v of an item that nobody has chosen is joined, half and half, with what a
    regression on the v of the others foretells (`regress`).

    Args:
        data: whose item table tells the attributes, and whose events, which items are hot.
        items: e; 0 for items that nobody has chosen.
        hidden: units of the MLP.
        hot_dropout: share of the items with attributes that are seen without e in training.
        attribute_decay: by how much training draws what c is made of to 0.

    Attributes:
        readable: bool [item rows], of which items anything is known.
    """

    chosen: torch.Tensor

    def __init__(
        self,
        data: Dataset,
        items: EmbeddingTable,
        hidden: int,
        hot_dropout: float,
        attribute_decay: float,
    ) -> None:
        super().__init__()
        dim = items.weight.shape[1]
        attributes = attributes_of(data.item_table, "item")
        told = attributes.encode(data.item_attributes(), len(data.items) - 1)
        # With row 0, of which nothing is known.
        offsets = np.concatenate([[0], told.indptr])
        told = csr_array((told.data, told.indices, offsets), (len(offsets) - 1, len(attributes)))
        self.items, self.hot_dropout = items, hot_dropout
        self.known = SparseRows(told)
        self.bag = AttributeBag(len(attributes), dim, attribute_decay)
        self.regression = AttributeRegression(len(attributes), dim)
        self.readable = (data.item_counts > 0) | (np.diff(told.indptr) > 0)
        self.register_buffer("chosen", torch.from_numpy(data.item_counts > 0), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """v of item rows int64 [n], float32 [n, dim]."""
        hot = self.chosen[rows]
        if self.training and self.hot_dropout > 0:
            kept = torch.rand(len(rows), device=rows.device) >= self.hot_dropout
            hot = hot & (kept | ~self.known.told(rows))
        e, c = self.items(rows) * hot[:, None], self.bag(self.known, rows)
        v = functional.normalize((e + c + self.mlp(torch.cat([e, c], 1))).float(), dim=1)
        if self.training:
            return v
        new = (~hot & self.known.told(rows)).nonzero()[:, 0]
        if len(new) == 0:
            return v
        foretold = functional.normalize(self.regression(self.known, rows[new]), dim=1)
        return v.index_copy(0, new, functional.normalize(v[new] + foretold, dim=1))

    @torch.no_grad()
    def regress(self) -> None:
        """Learns, after training, how v follows from attributes, where new items ask for it."""
        every = torch.arange(len(self.chosen), device=self.chosen.device)
        told = self.known.told(every)
        rows = every[told & self.chosen]
        if len(rows) and (told & ~self.chosen).any():
            self.regression.fit(self.known, rows, self(rows))


class TwoTowerNetwork(ProfiledNetwork):
    """u = y / |y| with y = Σ z_k + MLP(z), z = [recent mean of v, last v, profile].

    Args:
        data: as for `ItemTower`, and whose user table tells the profiles.
        items: the vectors of items' ids.
        hidden: units of each MLP.
        decay: what an event counts in the mean for each that came after it.
        dropout: share of the user tower's hidden units that are dropped.
        hot_dropout: share of items, and of positions, that are seen without what behaviour tells.
        attribute_decay: as for `ItemTower`.
    """

    def __init__(
        self,
        data: Dataset,
        items: EmbeddingTable,
        *,
        hidden: int,
        decay: float,
        dropout: float,
        hot_dropout: float,
        attribute_decay: float,
    ) -> None:
        dim = items.weight.shape[1]
        super().__init__(data, dim, hot_dropout)
        self.items, self.decay = items, decay
        self._vectors: NDArray[np.float32] | None = None
        self.tower = ItemTower(data, items, hidden, hot_dropout, attribute_decay)
        self.mlp = nn.Sequential(
            nn.Linear(3 * dim, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, dim)
        )

    def train(self, mode: bool = True) -> Self:
        self._vectors = None
        return super().train(mode)

    @torch.inference_mode()
    def item_vectors(self) -> NDArray[np.float32]:
        """v of all item rows, float32 [item rows, dim], kept until training goes on."""
        if self._vectors is None:
            rows = torch.arange(len(self.items.weight), device=self.items.weight.device)
            self._vectors = self.tower(rows).cpu().numpy()
        return self._vectors

    def summaries(self, batch: SequenceBatch) -> torch.Tensor:
        items, place = _distinct(batch.items)
        vectors = self.tower(items)[place]
        return torch.cat([prefix_means(vectors, batch.packing, self.decay), vectors], 1)

    def empty_summaries(self, n: int) -> torch.Tensor:
        weight = self.items.weight
        return weight.new_zeros(n, 2 * weight.shape[1])

    def answers(
        self, summaries: torch.Tensor, profiles: torch.Tensor, as_of: torch.Tensor
    ) -> torch.Tensor:
        mean, last = summaries.chunk(2, 1)
        z = torch.cat([summaries, profiles], 1)
        return functional.normalize((mean + last + profiles + self.mlp(z)).float(), dim=1)


class InBatchSoftmax:
    """The softmax over the items of a batch and some drawn ones, each less ln of its probability to
    be there (Yi et al. 2019, section 3).

    A batch of 2,048 holds popular items several times. Here each item stands once, and its
    probability is that the batch holds it at all, which is what `StreamingFrequency` estimates; so
    there are no accidental hits either. With b the probability of being in the batch, and n of N
    items drawn, it is 1 - (1 - b) (1 - 1/N)^n (mixed negatives, Yang et al. 2020). Item row 0, of
    which nothing is known, is always there: what nothing is known of comes last.

    Args:
        network: whose item tower is asked for vectors.
        frequencies: of items in batches; it learns from every batch.
        drawn: n, items drawn uniformly from those that training has seen.
        temperature: of the softmax.
    """

    def __init__(
        self,
        network: TwoTowerNetwork,
        frequencies: StreamingFrequency,
        drawn: int,
        temperature: float,
    ) -> None:
        self.network, self.frequencies, self.drawn = network, frequencies, drawn
        self.temperature = temperature
        self.seen = network.tower.chosen.nonzero()[:, 0]

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        targets, device = batch.targets, batch.targets.device
        self.frequencies.update(targets)
        at = torch.randint(len(self.seen), (self.drawn,), generator=generator, device=device)
        items, place = _distinct(torch.cat([targets, self.seen[at], targets.new_zeros(1)]))
        log_q = self.log_probability(items)
        # Copies of row 0 that fill up the block do not compete.
        log_q[1:].masked_fill_(items[1:] == 0, torch.inf)
        vectors, place = self.network.tower(items), place[: len(targets)]
        return softmax(found / self.temperature, vectors, place, -log_q)

    def log_probability(self, items: torch.Tensor) -> torch.Tensor:
        """ln of the probability that items int64 [n] are in a step, float32 [n]."""
        missed = 1 - self.frequencies.probability(items)
        missed *= (1 - 1 / len(self.seen)) ** self.drawn
        return torch.log1p(-missed).masked_fill_(items == 0, 0)


def _distinct(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct of rows int64 [n], rising, zeros after them to fill a block; and where each of
    the n stands among them."""
    distinct, place = torch.unique(rows, return_inverse=True)
    return functional.pad(distinct, (0, -len(distinct) % _BLOCK)), place


class TwoTower(ProfiledRetriever):
    """A tower for who asks and one for items; the score is their cosine over a temperature.

    Yi et al. (2019): each tower joins embeddings of ids and attributes and ends in a vector of
    length 1; a pair of a history and its next item is told from the other items of its batch, whose
    popularity is taken out again by estimates from the stream (their algorithms 2 and 3). All
    rewards are 1. Items drawn uniformly are mixed in (Yang et al. 2020), since a batch alone
    teaches little of rare ones. As in their section 5 a user is what was watched: here the mean of
    the items' own vectors, recent ones counting most, with the last one and the profile. Both
    towers have a residual path around one hidden layer; theirs have three layers without.

    Behaviour (hot) is hidden at times, that of an item's id and that of the whole history, so that
    what is known before the first visit (cold: attributes, profile) can stand alone (DropoutNet,
    Volkovs et al. 2017). Attributes that few items have, such as an actor or a word of a plot,
    would tell these apart as their ids do, and nothing about a new one: weight decay holds them
    back (Loshchilov & Hutter 2019). An item that nobody has chosen has a place by its attributes
    and is recommended: half of it is what its tower says, half what a ridge regression by
    attributes foretells from the items that were chosen (Gantner et al. 2010), since the two err in
    different ways. A profile without history gets an answer of its own.

    Attributes:
        network: the embeddings and the towers.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "twotower"
    paper: ClassVar[str] = (
        "Yi et al. 2019, Sampling-Bias-Corrected Neural Modeling for Large Corpus Item "
        "Recommendations (RecSys)"
    )

    hidden: int = hyperparameter(default=128, help="hidden units of a tower", ge=1, log=True)
    temperature: float = hyperparameter(
        default=0.1, help="what cosines are divided by", gt=0, le=10, log=True
    )
    decay: float = hyperparameter(
        default=0.9, help="what an event counts for each that came after it", gt=0, le=1
    )
    negatives: int = hyperparameter(
        default=256, help="items drawn for a step, beside those of the batch", ge=0
    )
    frequency_rate: float = hyperparameter(
        default=0.05, help="α of the streaming frequencies", gt=0, le=1, log=True
    )
    dropout: float = hyperparameter(default=0.2, help="share of hidden units dropped", ge=0, lt=1)
    attribute_decay: float = hyperparameter(
        default=1.0, help="by how much, as a share of the step size, each step draws to 0 what is "
        "learned of items' attributes, so that those that few items have are not learned by heart",
        ge=0, log=True, search=(0.1, 10),
    )  # fmt: skip
    epochs: int = hyperparameter(
        default=6, help="passes over the events", ge=1, log=True, tuned=False
    )
    batch_size: int = hyperparameter(
        default=2048, help="events in a step", ge=1, log=True, tuned=False
    )

    network: TwoTowerNetwork = assigned_by_fit()

    def samples_items(self) -> bool:
        return True

    def make_network(self) -> TwoTowerNetwork:
        return TwoTowerNetwork(
            self.data,
            self.item_table(self.dim**-0.5),
            hidden=self.hidden,
            decay=self.decay,
            dropout=self.dropout,
            hot_dropout=self.hot_dropout,
            attribute_decay=self.attribute_decay,
        )

    def make_objective(self, histories: Histories, device: str) -> Objective:
        # The gap of an item that is as frequent as all others.
        gap = max(1.0, np.count_nonzero(self.popularity) / self.batch_size)
        slots = _SLOTS * len(self.items)
        frequencies = StreamingFrequency(
            slots, rate=self.frequency_rate, first_gap=gap, device=device
        )
        return InBatchSoftmax(self.network, frequencies, self.negatives, self.temperature)

    def finish_network(self) -> None:
        super().finish_network()
        self.network.tower.regress()

    def known_items(self, histories: Histories) -> Histories:
        """The events of items that training has seen or whose attributes say something."""
        readable = self.network.tower.readable
        known = readable[np.where(histories.items < len(readable), histories.items, 0)]
        return histories if known.all() else histories.select(known)

    def item_vectors(self) -> NDArray[np.float32]:
        """float32 [item rows, dim], of length 1."""
        return self.network.item_vectors()
