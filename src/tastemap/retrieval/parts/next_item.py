"""What sequence models share that foretell the next item at every position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.attribute_bag import AttributeBag
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.event_kinds import EventKinds
from tastemap.nn.initializers import normal_
from tastemap.nn.optimizers import sparse_adam
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.parts.neural import NeuralRetriever
from tastemap.retrieval.parts.objectives import Objective
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.precision import mixed
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate
from tastemap.training.sequence_batches import SequenceBatch, SequenceBatches

__all__ = ["TILE_POSITIONS", "NextItemRetriever", "SequenceNetwork", "SequenceRetriever"]

# Positions that are encoded at a time where answers are asked for.
TILE_POSITIONS = 1 << 15
# From so many items on it costs more to move them all in every step than to find those of the step.
_SPARSE_FROM = 100_000
# Of the first item vectors, as in BERT: by Xavier's rule those of a long table would begin so short
# that they are lost beside the positions.
_DEVIATION = 0.02
# Over the events, where nothing else is said.
_PASSES = 12
# Positions that matrix units take at once, and how many such blocks a step has at least: of fewer
# events a deep network learns too little in each.
_BLOCK, _LEAST_BLOCKS = 64, 4


class SequenceNetwork(nn.Module):
    """From packed sequences to what every position says of the item that it asks for.

    For a `NextItemRetriever` it is a vector [dim], whose product with an item's scores it.

    Attributes:
        items: the table of items, first layer and last.
    """

    items: EmbeddingTable

    def tables(self) -> list[EmbeddingTable]:
        """All tables of items."""
        return [self.items]

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> torch.Tensor:
        """float [T, ..., dim] of the T positions of a batch, each of which sees itself and what
        came before; or, where the batch hides m, float [m, dim] of these."""

    def encode(self, batch: SequenceBatch) -> torch.Tensor:
        """What is said after each sequence of `recent` batches, float [n, ..., dim]."""
        found: torch.Tensor = self(batch)
        return found if batch.hidden is not None else found[batch.packing.last]


class NextItemTrainer(ModuleTrainer):
    """Adam on an objective over all windows.

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
                assert batch.targets is not None
                with mixed(device):
                    loss = self.objective(self.network(batch), batch, generator)
                self.network.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for optimizer in self.optimizers:
                    optimizer.step()
                total += loss.detach() * len(batch.targets)
                n += len(batch.targets)
        self.network.eval()
        return {"loss": total.item() / max(n, 1)}


def _optimizers(network: SequenceNetwork, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Adam, with the β of Vaswani et al. 2017 and of SASRec's authors, and the decay that
    attributes ask for."""
    betas = (0.9, 0.98)
    tables = [m for m in network.modules() if isinstance(m, EmbeddingTable) and m.sparse]
    sparse = [table.weight for table in tables]
    decays = {m.weight: m.decay for m in network.modules() if isinstance(m, AttributeBag)}
    dense: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if all(parameter is not weight for weight in sparse):
            dense.setdefault(decays.get(parameter, 0.0), []).append(parameter)
    groups = [{"params": each, "weight_decay": decay} for decay, each in dense.items()]
    optimizers: list[torch.optim.Optimizer] = []
    if groups:
        optimizers.append(torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True))
    if sparse:
        optimizers.append(sparse_adam(sparse, learning_rate, betas))
    return optimizers


class SequenceRetriever(PretrainedItems, NeuralRetriever):
    """A retriever that has learned, at each position of a history, what comes next.

    Whoever asks, known or not, is encoded from the history; nothing is kept of a user. The items
    begin as the vectors of an `Item2Vec`, whose training costs a twentieth of what follows: on
    little data a network alone does not come to know items that are seldom chosen. A subclass
    writes `make_network`, `make_objective` and `score`, and `make_batches` where it learns
    otherwise.
    """

    network: SequenceNetwork = assigned_by_fit()

    dim: int = hyperparameter(default=64, help="length of all vectors", ge=1, le=4096, log=True)
    item2vec_epochs: int | None = hyperparameter(
        default=None,
        help="passes of the Item2Vec whose vectors the items begin with; 0 for a random start, "
        "none for as many as it makes by itself",
        ge=0,
        tuned=False,
    )
    max_length: int = hyperparameter(
        default=200, help="events of a history that are looked at", ge=1, le=1 << 16, log=True
    )
    epochs: int | None = hyperparameter(
        default=_PASSES, help=f"passes over the events; none for {_PASSES}", ge=1, log=True,
        tuned=False,
    )  # fmt: skip
    learning_rate: float = hyperparameter(
        default=2e-3, help="Adam's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=4096, help="events in a step", ge=1, log=True, tuned=False
    )
    min_steps: int = hyperparameter(
        default=1, help="steps in a pass: with few events a step takes fewer than `batch_size`",
        ge=1, log=True, tuned=False,
    )  # fmt: skip

    @abstractmethod
    def make_network(self) -> SequenceNetwork: ...

    @abstractmethod
    def make_objective(self, histories: Histories, device: str) -> Objective:
        """What is made small, for `self.network` on a device and the histories it learns from."""

    def make_batches(self, histories: Histories, device: str | torch.device) -> SequenceBatches:
        """What the network looks at, for training and for answers."""
        return SequenceBatches(histories, self.max_length, device)

    def samples_items(self) -> bool:
        """Whether a step of training meets only some of the items."""
        return False

    def item_table(self, deviation: float = _DEVIATION) -> EmbeddingTable:
        """A new table of all items [item rows, dim], normal numbers; where a step meets some items,
        and there are many, it touches only these."""
        sparse = self.samples_items() and len(self.items) >= _SPARSE_FROM
        first = partial(normal_, deviation=deviation)
        return EmbeddingTable(len(self.items), self.dim, sparse=sparse, initialize=first)

    def kind_table(self) -> EventKinds:
        """New vectors of the kinds of events."""
        return EventKinds(len(self.data.kind_names), self.dim)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        self.start_network(self.seed, device)
        batches = self.make_batches(self.seen_in_training(self.histories), device)
        trainer = NextItemTrainer(
            self.network,
            batches,
            self.make_objective(batches.histories, device),
            epochs=self.passes(),
            learning_rate=self.learning_rate,
            batch_size=self._step_size(batches.histories),
        )
        self.network.eval()
        self._fit_in_epochs(trainer, self.passes(), validation, run, resolved=self.by_data())
        self.finish_network()

    def passes(self) -> int:
        """Passes over the events, as given or by the data."""
        return _PASSES if self.epochs is None else self.epochs

    def by_data(self) -> dict[str, float]:
        """Hyper-parameters that may be left to the data, as given or found."""
        return {"epochs": self.passes()}

    def _step_size(self, histories: Histories) -> int:
        """Events in a step, in whole blocks of what matrix units work on."""
        blocks = histories.n_events // self.min_steps // _BLOCK
        return min(self.batch_size, _BLOCK * max(blocks, _LEAST_BLOCKS))

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        tables = self.network.tables()
        names = [name for name, module in self.network.named_modules() if module in tables]
        return [state[f"{name}.weight"][:, : self.dim] for name in names]

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        return self.seen_in_training(queries.histories).counts > 0

    def _encoded(self, queries: Queries) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
        """The queries that have events of items that training has seen, int64 [m], a tile at a
        time, and what the network says at the last of these events, [m, ...]."""
        histories = self.seen_in_training(queries.histories)
        tile = max(1, TILE_POSITIONS // self.max_length)
        for start in range(0, len(histories), tile):
            part = histories.slice(start, min(start + tile, len(histories)))
            if part.n_events:
                batch = self.make_batches(part, self.device).recent()
                yield start + batch.rows.cpu().numpy(), self.network.encode(batch)


class NextItemRetriever(SequenceRetriever, VectorRetriever):
    """A `SequenceRetriever` that scores by the product of two vectors."""

    @torch.inference_mode()
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """float32 [B, dim]; 0 where there is no event of an item that training has seen."""
        vectors = np.zeros((len(queries), self.network.items.weight.shape[1]), np.float32)
        for rows, found in self._encoded(queries):
            vectors[rows] = found.cpu().numpy()
        return vectors

    def item_vectors(self) -> NDArray[np.float32]:
        return self.network.items.weight.detach().cpu().numpy()
