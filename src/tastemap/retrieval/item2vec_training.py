"""Training of item2vec: pairs of neighbours from histories, and SGD on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tastemap.data.histories import Histories
from tastemap.kernels.blocks import STRATA
from tastemap.kernels.item2vec import (
    ItemStrata,
    Pairs,
    alias_tables,
    cut_items,
    pairs_in_blocks,
    sgns_epoch,
)
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.optimizers import sparse_sgd
from tastemap.retrieval.parts.rating_training import TableTrainer
from tastemap.sampling.popularity import popularity_of
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.schedule import falling, lower_rate

if TYPE_CHECKING:
    from tastemap.retrieval.item2vec import Item2Vec

__all__ = [
    "KernelTrainer",
    "TorchTrainer",
    "first_vectors",
    "keep_probabilities",
    "passes",
    "sessions",
]

# About so many pairs are in memory at a time, 8 bytes each.
_PAIRS_AT_A_TIME = 1 << 22
# How often an item is met in all passes, on average, within bounds. Vectors that are met less stay
# near where they began: on Amazon Beauty, 13 events an item, 30 passes give 1.6 times the NDCG@10
# of 10, and 80 little more. Of dense data 10 passes are enough.
_VISITS, _FEWEST_PASSES, _MOST_PASSES = 500, 10, 40


def first_vectors(counts: NDArray[np.int64], factors: int, seed: int) -> State:
    """As word2vec starts: inputs uniform within ±1/(2 factors), outputs 0; and 0 for items, of
    counts int64 [item rows], that were never chosen."""
    U = np.random.default_rng([seed, 0]).random((len(counts), factors), np.float32)
    U -= np.float32(0.5)
    U /= np.float32(factors)
    U[counts == 0] = 0
    return {"inputs": U, "outputs": np.zeros_like(U)}


def passes(counts: NDArray[np.int64]) -> int:
    """How many passes over the events vectors of items are learned from, by how often each item, of
    counts int64 [item rows], was chosen: 10, and up to 40 where items were chosen seldom."""
    a_pass = counts.sum() / max(np.count_nonzero(counts), 1)
    return int(np.clip(np.ceil(_VISITS / max(a_pass, 1)), _FEWEST_PASSES, _MOST_PASSES))


def keep_probabilities(counts: NDArray[np.int64], subsample: float) -> NDArray[np.float64]:
    """The probability that an event of each item is kept, float64 [item rows].

    min(1, sqrt(t/f) + t/f), with f the item's share of all events and t `subsample`: what word2vec
    computes. Mikolov et al. 2013 write sqrt(t/f) (equation 5), which is nearly that where an item
    is frequent. 1 for all where t is 0.
    """
    if subsample == 0:
        return np.ones(len(counts))
    rarity = subsample * counts.sum() / np.maximum(counts, 1)
    keep: NDArray[np.float64] = np.minimum(np.sqrt(rarity) + rarity, 1)
    return keep


def sessions(
    histories: Histories, gap_minutes: float | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Histories without unknown items, cut where more than the gap lies between two events.

    Returns:
        offsets int64 [sessions + 1] and items int32 [m].
    """
    known = histories.select(histories.items > 0)
    if gap_minutes is None:
        return known.offsets, known.items
    pauses = np.flatnonzero(np.diff(known.times) > 60 * gap_minutes) + 1
    return np.union1d(known.offsets, pauses), known.items


class _Corpus:
    """Sessions, and the pairs of neighbours in them, a part of an epoch at a time.

    Attributes:
        epochs: passes over them.
    """

    def __init__(self, model: Item2Vec, histories: Histories, n_items: int) -> None:
        self.model = model
        self.offsets, self.items = sessions(histories, model.session_gap_minutes)
        counts = np.bincount(self.items, minlength=n_items)
        self.counts = counts
        self.epochs = passes(counts) if model.epochs is None else model.epochs
        self.keep = keep_probabilities(counts, model.subsample)
        # One more for every item, so that items without events are spread evenly too.
        self.weights = counts * self.keep + 1.0
        self.weights[0] = 0
        left = np.concatenate([[0.0], np.cumsum(self.keep[self.items])])
        self.n_pairs = np.diff(left[self.offsets]) * (model.window + 1)

    def parts(self, rng: np.random.Generator) -> Iterator[tuple[float, Pairs, ItemStrata]]:
        """For each part of an epoch which share of it went before, its pairs, and the strata of
        their outputs."""
        sequences = rng.permutation(len(self.offsets) - 1)
        before = np.cumsum(self.n_pairs[sequences])
        n = max(int(np.ceil(before[-1] / _PAIRS_AT_A_TIME)), 1)
        edges = np.searchsorted(before, np.arange(1, n) * before[-1] / n)
        for number, part in enumerate(np.split(sequences, edges)):
            inputs, outputs = cut_items(self.weights, rng), cut_items(self.weights, rng)
            pairs = pairs_in_blocks(
                part, self.offsets, self.items, self.keep, self.model.window,
                not self.model.ordered, inputs.stratum, outputs.stratum, STRATA,
                rng.integers(1 << 63, dtype=np.uint64),
            )  # fmt: skip
            yield number / n, Pairs(*pairs), outputs


class KernelTrainer(TableTrainer):
    """Compiled epochs on the CPU, in place on the vectors given.

    Args:
        model: whose hyper-parameters they have.
        histories: the events, [user rows]; unknown items are passed over.
        vectors: of `first_vectors`.
    """

    def __init__(self, model: Item2Vec, histories: Histories, vectors: State) -> None:
        super().__init__(vectors)
        self.model = model
        self.corpus = _Corpus(model, histories, len(vectors["inputs"]))
        self.chances = self.corpus.counts.astype(np.float64) ** model.popularity_exponent
        self.chances[self.corpus.counts == 0] = 0

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        m = self.model
        total, count = 0.0, 0
        for share, pairs, strata in self.corpus.parts(rng):
            chance, other = alias_tables(self.chances, strata.pool, strata.offsets)
            rate = np.float32(falling(m.learning_rate, epoch + share, self.corpus.epochs))
            order, seed = rng.permutation(STRATA), rng.integers(1 << 63, dtype=np.uint64)
            total += sgns_epoch(
                *pairs, strata.pool, strata.offsets, chance, other, order,
                self.tables["inputs"], self.tables["outputs"], rate, m.negatives, seed,
            )  # fmt: skip
            count += len(pairs.inputs)
        return {"train_loss": total / max(count, 1)}


class _Tables(nn.Module):
    def __init__(self, vectors: State) -> None:
        super().__init__()
        n_items, factors = vectors["inputs"].shape
        self.inputs = EmbeddingTable(n_items, factors, initialize=nn.init.zeros_)
        self.outputs = EmbeddingTable(n_items, factors, initialize=nn.init.zeros_)
        with torch.no_grad():
            self.inputs.weight.copy_(torch.from_numpy(vectors["inputs"]))
            self.outputs.weight.copy_(torch.from_numpy(vectors["outputs"]))

    def forward(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """u · v of inputs int64 [B] and outputs int64 [B, n], float32 [B, n]."""
        return torch.bmm(self.outputs(outputs), self.inputs(inputs)[:, :, None])[..., 0]


class TorchTrainer(ModuleTrainer):
    """The steps of the kernel in batches: all pairs of one start from the same place.

    Args:
        model, histories, vectors: see `KernelTrainer`; the vectors are copied.
        device: torch's name of it.
    """

    network: _Tables

    def __init__(self, model: Item2Vec, histories: Histories, vectors: State, device: str) -> None:
        super().__init__(_Tables(vectors).to(device))
        self.model, self.device = model, device
        self.corpus = _Corpus(model, histories, len(vectors["inputs"]))
        chances = popularity_of(torch.from_numpy(self.corpus.counts), model.popularity_exponent)
        self.cumulative = chances.cumsum(0).to(device)
        self.optimizer = sparse_sgd(self.network.parameters(), model.learning_rate)

    def state(self) -> State:
        return {name.removesuffix(".weight"): array for name, array in super().state().items()}

    def restore(self, state: State) -> None:
        super().restore({f"{name}.weight": array for name, array in state.items()})

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        m = self.model
        generator = generator_of(rng, self.device)
        total, count = torch.zeros((), device=self.device), 0
        for share, pairs, _ in self.corpus.parts(rng):
            lower_rate(self.optimizer, epoch + share, self.corpus.epochs)
            inputs, outputs = (
                torch.from_numpy(column).to(self.device).long() for column in pairs[:2]
            )
            order = torch.randperm(len(inputs), generator=generator, device=self.device)
            for batch in torch.split(order, m.batch_size):
                self.optimizer.zero_grad()
                loss = self._loss(inputs[batch], outputs[batch], generator)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                total += loss.detach()
            count += len(inputs)
        return {"train_loss": total.item() / max(count, 1)}

    def _loss(
        self, inputs: torch.Tensor, outputs: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """The sum of the losses of pairs int64 [B] and [B]."""
        c, shape = self.cumulative, (len(inputs), self.model.negatives)
        at = torch.rand(shape, generator=generator, device=self.device, dtype=c.dtype) * c[-1]
        drawn = torch.searchsorted(c, at, right=True).clamp(max=len(c) - 1)
        x = self.network(inputs, torch.cat([outputs[:, None], drawn], 1))
        missed = functional.softplus(x[:, 1:]) * (drawn != outputs[:, None])
        return functional.softplus(-x[:, 0]).sum() + missed.sum()
