"""What autoencoders share: sparse rows, a first layer that reads them, answers from histories."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import assigned_by_fit
from tastemap.losses.multinomial import multinomial
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.neural import NeuralRetriever
from tastemap.training.module import ModuleTrainer
from tastemap.training.precision import mixed
from tastemap.training.run import Run

__all__ = [
    "AutoencoderNetwork",
    "HistoryAutoencoder",
    "SparseLinear",
    "SparseRows",
    "noisy",
    "one_pass",
]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """The rows of a sparse matrix, on a device.

    Attributes:
        offsets: int64 [n+1]; row i is the slice offsets[i]:offsets[i+1] of the others.
        columns: int64 [m], different ones within a row.
        values: float32 [m].
    """

    offsets: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor

    @classmethod
    def from_csr(cls, matrix: csr_array, device: str | torch.device = "cpu") -> SparseRows:
        """The rows of a matrix without double entries."""
        return cls(
            torch.from_numpy(matrix.indptr.astype(np.int64)).to(device),
            torch.from_numpy(matrix.indices.astype(np.int64)).to(device),
            torch.from_numpy(matrix.data.astype(np.float32)).to(device),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows_of_entries(self) -> torch.Tensor:
        """The row that each entry belongs to, int64 [m]."""
        return torch.repeat_interleave(self.offsets.diff())

    def take(self, rows: torch.Tensor) -> SparseRows:
        """Some rows, int64, in the order asked for."""
        counts = self.offsets.diff()[rows]
        offsets = functional.pad(counts.cumsum(0), (1, 0))
        shift = torch.repeat_interleave(self.offsets[rows] - offsets[:-1], counts)
        entries = torch.arange(len(shift), device=shift.device) + shift
        return SparseRows(offsets, self.columns[entries], self.values[entries])

    def batches(self, size: int, generator: torch.Generator) -> Iterator[SparseRows]:
        """All rows once in random order, `size` at a time."""
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        for rows in torch.split(order, size):
            yield self.take(rows)

    def row_sums(self) -> torch.Tensor:
        """float32 [n]."""
        sums = torch.zeros(len(self), device=self.values.device)
        return sums.index_add_(0, self.rows_of_entries(), self.values)

    def unit_length(self) -> SparseRows:
        """Each row divided by its Euclidean length."""
        squares = SparseRows(self.offsets, self.columns, self.values.square()).row_sums()
        scale = squares.clamp(min=1e-24).rsqrt()
        values = self.values * scale[self.rows_of_entries()]
        return SparseRows(self.offsets, self.columns, values)

    def drop(self, rate: float, generator: torch.Generator) -> SparseRows:
        """Dropout: each entry goes with probability `rate`, the others are scaled up for it."""
        if rate == 0:
            return self
        draw = torch.rand(len(self.values), generator=generator, device=self.values.device)
        kept = draw >= rate
        offsets = functional.pad(kept.cumsum(0), (1, 0))[self.offsets]
        return SparseRows(offsets, self.columns[kept], self.values[kept] / (1 - rate))


class SparseLinear(nn.Module):
    """A linear layer whose input are sparse rows: it adds up the weights of their entries.

    The cost grows with the entries, not with the columns. `weight` is [columns, out_features], the
    transposed of a `Linear`'s; it starts Xavier-uniform and the bias at 0.
    """

    def __init__(self, columns: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(columns, out_features)))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, rows: SparseRows) -> torch.Tensor:
        """float32 [n, out_features]."""
        added = functional.embedding_bag(
            rows.columns,
            self.weight,
            rows.offsets,
            mode="sum",
            per_sample_weights=rows.values,
            include_last_offset=True,
        )
        return added + self.bias


def noisy(
    mean: torch.Tensor, log_variance: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """A draw from N(μ, diag σ²) for each row of [n, d], with gradients by both parameters."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + noise * (0.5 * log_variance).exp()


def one_pass(
    rows: SparseRows,
    batch_size: int,
    generator: torch.Generator,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[SparseRows], torch.Tensor],
) -> float:
    """A step of the optimizer for each batch of rows, in random order.

    Returns:
        The mean of `loss`, which is that of a batch, over the rows.
    """
    device = rows.values.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for batch in rows.batches(batch_size, generator):
        optimizer.zero_grad()
        with mixed(device):
            of_batch = loss(batch)
        of_batch.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += of_batch.detach() * len(batch)
    return total.item() / len(rows)


class AutoencoderNetwork(nn.Module):
    """From histories to scores; `output` is the last layer of the decoder."""

    output: nn.Linear

    def start_linear_layers(self) -> None:
        """Xavier-uniform weights, biases of 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @abstractmethod
    def hidden(self, rows: SparseRows) -> torch.Tensor:
        """What `output` makes the scores of, without noise, float32 [n, d]."""

    def loss(self, hidden: torch.Tensor, chosen: SparseRows) -> torch.Tensor:
        """The mean negative multinomial log-likelihood of what was chosen [n], a scalar."""
        return multinomial(
            hidden,
            self.output.weight,
            self.output.bias,
            chosen.offsets,
            chosen.columns,
            chosen.values,
        )


class HistoryAutoencoder(TrainedInEpochs, NeuralRetriever, VectorRetriever):
    """A retriever that reads a history as a row of zeros and ones and writes scores of all items.

    Whoever asks, known or not, is read from the history; nothing is kept of a user. A subclass
    writes `make_network` and `_trainer`, and has the hyper-parameters named here.
    """

    network: AutoencoderNetwork = assigned_by_fit()
    epochs: int

    def rows(self, histories: Histories, device: str | torch.device = "cpu") -> SparseRows:
        """Histories [B] as 0/1 rows over the items that training has seen."""
        n_items = len(self.network.output.weight)
        return SparseRows.from_csr(self.seen_in_training(histories).to_csr(n_items), device)

    def training_rows(self, device: str) -> SparseRows:
        """The histories of all users who have one."""
        histories = self.histories
        return self.rows(histories.take(np.flatnonzero(histories.counts)), device)

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        self.start_network(self.seed, device)
        self._fit_in_epochs(
            self._trainer(self.training_rows(device)),
            self.epochs,
            validation,
            run,
        )
        self.finish_network()

    @abstractmethod
    def _trainer(self, rows: SparseRows) -> ModuleTrainer:
        """What trains the network on the histories of all users."""

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        output = self.network.output
        weight: torch.Tensor = output.weight
        bias: torch.Tensor = output.bias
        if items is not None:
            chosen = self.to_tensor(items)
            weight, bias = weight[chosen], bias[chosen]
        with torch.inference_mode():
            hidden = self._hidden(queries)
            scores: NDArray[np.float32] = functional.linear(hidden, weight, bias).cpu().numpy()
        return scores

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        with torch.inference_mode():
            hidden = self._hidden(queries).cpu().numpy()
        return np.column_stack([hidden, np.ones(len(hidden), np.float32)])

    def _hidden(self, queries: Queries) -> torch.Tensor:
        return self.network.hidden(self.rows(queries.histories, self.device).unit_length())

    def item_vectors(self) -> NDArray[np.float32]:
        """float32 [item rows, d + 1], the last layer's weights and its bias."""
        output = self.network.output
        return np.column_stack(
            [part.detach().cpu().numpy() for part in (output.weight, output.bias)]
        )

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Without the bias, which says how popular an item is and not what it is like.
        return cosines(self.network.output.weight.detach().cpu().numpy(), items)
