"""What sequence models share that foretell the next item at every position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.optimizers import sparse_adam
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.neural import NeuralRetriever
from tastemap.retrieval.parts.objectives import Objective
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.precision import mixed
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

__all__ = ["TILE_POSITIONS", "NextItemRetriever", "SequenceNetwork"]

# Positions that are encoded at a time where answers are asked for.
TILE_POSITIONS = 1 << 15


class SequenceNetwork(nn.Module):
    """From packed sequences to a vector for every position, whose product with an item's scores it.

    Attributes:
        items: the table of items, first layer and last.
    """

    items: EmbeddingTable

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """float [T, dim] of the T positions of a batch; each sees itself and what came before."""


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
    betas = (0.9, 0.98)
    tables = [m for m in network.modules() if isinstance(m, EmbeddingTable) and m.sparse]
    sparse = [table.weight for table in tables]
    dense = [p for p in network.parameters() if all(p is not weight for weight in sparse)]
    adam = torch.optim.Adam(dense, lr=learning_rate, betas=betas, fused=True)
    return [adam, sparse_adam(sparse, learning_rate, betas)] if sparse else [adam]


class NextItemRetriever(TrainedInEpochs, NeuralRetriever, VectorRetriever):
    """A retriever that has learned, at each position of a history, what comes next.

    Whoever asks, known or not, is encoded from the history; nothing is kept of a user. A subclass
    writes `make_network` and `make_objective`.
    """

    network: SequenceNetwork = assigned_by_fit()

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

    @abstractmethod
    def make_objective(self, histories: Histories, device: str) -> Objective:
        """What is made small, for `self.network` on a device and the histories it learns from."""

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        self.start_network(self.seed, device)
        batches = SequenceBatches(self.seen_in_training(self.histories), self.max_length, device)
        trainer = NextItemTrainer(
            self.network,
            batches,
            self.make_objective(batches.histories, device),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
        )
        self.network.eval()
        self._fit_in_epochs(trainer, self.epochs, validation, run)
        self.finish_network()

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        return self.seen_in_training(queries.histories).counts > 0

    @torch.inference_mode()
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """float32 [B, dim]; 0 where there is no event of an item that training has seen."""
        histories = self.seen_in_training(queries.histories)
        tile = max(1, TILE_POSITIONS // self.max_length)
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
