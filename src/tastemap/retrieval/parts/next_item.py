"""What sequence models share that foretell the next item at every position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.losses import bce, gbce, sampled_softmax, softmax
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.initializers import normal_
from tastemap.nn.optimizers import sparse_adam
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.neural import NeuralRetriever
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.precision import mixed
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

__all__ = ["NextItemRetriever", "SequenceNetwork"]

# Positions that are encoded at a time where answers are asked for.
_TILE_POSITIONS = 1 << 15
# From so many items on it costs more to move them all in every step than to find those of the step.
_SPARSE_FROM = 100_000
# Of the first item vectors, as in BERT: by Xavier's rule those of a long table would begin so short
# that they are lost beside the positions.
_DEVIATION = 0.02


class SequenceNetwork(nn.Module):
    """From packed sequences to a vector for every position, whose product with an item's scores it.

    Attributes:
        items: the table of items, first layer and last.
    """

    items: EmbeddingTable

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """float [T, dim] of the T positions of a batch; each sees itself and what came before."""


class Objective(Protocol):
    """How wrong the vectors of positions are about what came next."""

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        """A scalar, the mean over the positions, of vectors [T, dim] of a batch with targets."""


class FullSoftmax:
    """Cross-entropy over all items, which makes SASRec stronger than BERT4Rec (Klenitskiy &
    Vasilev 2023, "Turning Dross into Gold Loss").

    Args:
        items: the table of items.
    """

    def __init__(self, items: EmbeddingTable) -> None:
        self.items = items

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        # Without row 0, the unknown, which nobody chooses.
        return softmax(found, self.items.weight[1:], batch.targets - 1)


class OneNegative:
    """Binary cross-entropy against one item a position, drawn from all that the user has not chosen
    (Kang & McAuley 2018, section 3.3).

    Args:
        items: the table of items.
        sampler: what the items are drawn by.
    """

    def __init__(self, items: EmbeddingTable, sampler: UniformSampler) -> None:
        self.items, self.sampler = items, sampler

    def __call__(
        self, found: torch.Tensor, batch: SequenceBatch, generator: torch.Generator
    ) -> torch.Tensor:
        assert batch.targets is not None
        users = batch.rows[batch.packing.sequences]
        drawn = self.sampler.sample(users, batch.targets, 1, generator)
        both = self.items(torch.cat([batch.targets[:, None], drawn.ids], 1))
        scores = torch.einsum("td,tnd->tn", found.float(), both)
        return bce(scores[:, 0], scores[:, 1:], drawn.mask)


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
        return sampled_softmax(*self.scores(found, batch, generator))


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
        return gbce(positive, negative, mask, n_items=len(self.items.weight) - 1, t=self.t)


class NextItemTrainer(ModuleTrainer):
    """Adam on an objective over all positions of all windows.

    Args:
        network: what is trained, in place, on the device that it is on.
        batches: what it is trained on.
        objective: what is made small.
        epochs: passes over which the step size falls to 0.
        learning_rate: the first step size.
        batch_size: positions in a step.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        batches: SequenceBatches,
        objective: Objective,
        *,
        epochs: int,
        learning_rate: float,
        batch_size: int,
    ) -> None:
        super().__init__(network)
        self.batches, self.objective = batches, objective
        self.epochs, self.batch_size = epochs, batch_size
        self.optimizers = _optimizers(network, learning_rate)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        device = torch.device(self.batches.device)
        generator = generator_of(rng, device)
        for optimizer in self.optimizers:
            lower_rate(optimizer, epoch, self.epochs)
        total, n = torch.zeros((), dtype=torch.float64, device=device), 0
        self.network.train()
        # Dropout draws from torch's own stream, which is the caller's.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(1 << 62)))
            for batch in self.batches.epoch(self.batch_size, rng):
                with mixed(device):
                    loss = self.objective(self.network(batch), batch, generator)
                self.network.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for optimizer in self.optimizers:
                    optimizer.step()
                total += loss.detach() * len(batch.items)
                n += len(batch.items)
        self.network.eval()
        return {"loss": total.item() / max(n, 1)}


def _optimizers(network: SequenceNetwork, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam, with the β of Vaswani et al. 2017 and of SASRec's authors."""
    table, betas = network.items.weight, (0.9, 0.98)
    dense = [p for p in network.parameters() if p is not table or not network.items.sparse]
    adam = torch.optim.Adam(dense, lr=learning_rate, betas=betas, fused=True)
    return [adam, sparse_adam([table], learning_rate, betas)] if network.items.sparse else [adam]


class NextItemRetriever(TrainedInEpochs, NeuralRetriever, VectorRetriever):
    """A retriever that has learned, at each position of a history, what comes next.

    Whoever asks, known or not, is encoded from the history; nothing is kept of a user. A subclass
    writes `make_network`, with a table from `item_table`.
    """

    network: SequenceNetwork = assigned_by_fit()

    objective: Literal["softmax", "sampled_softmax", "bce", "gbce"] = hyperparameter(
        default="softmax",
        help="softmax over all items, or over a sample (corrected by log-Q); binary cross-entropy "
        "with one negative, or the generalised one with several",
    )
    negatives: int = hyperparameter(
        default=256, help="items drawn for a history; for sampled_softmax and gbce", ge=1, log=True
    )
    calibration: float = hyperparameter(
        default=0.75, help="t of gbce: how much overconfidence is corrected", ge=0, le=1
    )
    max_length: int = hyperparameter(
        default=200, help="events of a history that are looked at", ge=1, le=1 << 16, log=True
    )
    epochs: int = hyperparameter(
        default=12, help="passes over the events", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=2e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=4096, help="events in a step", ge=1, log=True, tuned=False
    )

    @abstractmethod
    def make_network(self) -> SequenceNetwork: ...

    def item_table(self, dim: int) -> EmbeddingTable:
        """A new table of all items [item rows, dim]. Where items are drawn, and there are many, a
        step touches only its own."""
        sparse = self.objective != "softmax" and len(self.items) >= _SPARSE_FROM
        first = partial(normal_, deviation=_DEVIATION)
        return EmbeddingTable(len(self.items), dim, sparse=sparse, initialize=first)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        self.start_network(self.seed, device)
        batches = SequenceBatches(self.seen_in_training(self.histories), self.max_length, device)
        trainer = NextItemTrainer(
            self.network,
            batches,
            self._objective(batches.histories, device),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )
        self.network.eval()
        self._fit_in_epochs(trainer, self.epochs, validation, run)
        self.finish_network()

    def _objective(self, histories: Histories, device: str) -> Objective:
        items = self.network.items
        if self.objective == "softmax":
            return FullSoftmax(items)
        users = torch.from_numpy(histories.rows_of_events().astype(np.int64)).to(device)
        chosen = torch.from_numpy(histories.items.astype(np.int64)).to(device)
        sampler = UniformSampler(len(self.items), users, chosen)
        if self.objective == "bce":
            return OneNegative(items, sampler)
        negatives = min(self.negatives, len(self.items) - 2)
        if self.objective == "gbce":
            return GeneralizedBCE(items, sampler, negatives, self.calibration)
        return SampledSoftmax(items, sampler, negatives)

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        return self.seen_in_training(queries.histories).counts > 0

    @torch.inference_mode()
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """float32 [B, dim]; 0 where there is no event of an item that training has seen."""
        histories = self.seen_in_training(queries.histories)
        tile = max(1, _TILE_POSITIONS // self.max_length)
        dim = self.network.items.weight.shape[1]
        vectors = np.zeros((len(histories), dim), np.float32)
        for start in range(0, len(histories), tile):
            part = histories.slice(start, min(start + tile, len(histories)))
            if part.n_events:
                batch = SequenceBatches(part, self.max_length, self.device).recent()
                last = self.network(batch)[batch.packing.last]
                vectors[start + batch.rows.cpu().numpy()] = last.cpu().numpy()
        return vectors

    def item_vectors(self) -> NDArray[np.float32]:
        return self.network.items.weight.detach().cpu().numpy()
