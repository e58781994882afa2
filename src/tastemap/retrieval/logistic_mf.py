"""Logistic matrix factorization."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.logistic_mf import logistic_step, logistic_step_torch
from tastemap.retrieval.parts.factor_model import FactorModel, FactorTrainer
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["LogisticMF"]

_DEVIATION = 0.1


class LogisticMF(PretrainedItems, FactorModel):
    """Matrix factorisation of the probability that a user chooses an item.

        p(u chooses i) = σ(x_ui),       x_ui = p_u · q_i + b_u + c_i

    Choosing weighs α r_ui, with r the number of events of the pair (or their summed values), and
    not choosing 1, over all pairs (Johnson 2014, equation 4):

        sum_{u,i} α r_ui x_ui - (1 + α r_ui) ln(1 + e^{x_ui}) - λ/2 sum_u |p_u|² - λ/2 sum_i |q_i|²

    is climbed by Adagrad, with steps on all users and on all items in turn (section 3.2), each
    along the exact gradient, for which every pair is looked at: the negatives are not sampled. α is
    `confidence`, λ `regularization`. A history that training has not seen gets p_u and b_u by the
    users' steps alone. Users without events stay 0.

    Attributes:
        value_scale: float64 [1], the mean r, which r is divided by.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "logisticmf"
    paper: ClassVar[str] = (
        "Johnson 2014, Logistic Matrix Factorization for Implicit Feedback Data (NIPS workshop)"
    )
    learned: ClassVar[tuple[str, ...]] = (*FactorModel.learned, "value_scale")

    factors: int = hyperparameter(
        default=64, help="length of the vectors, without the biases", ge=1, le=4096, log=True
    )
    epochs: int = hyperparameter(
        default=30, help="rounds of steps on both sides", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.5, help="of Adagrad; an upper bound of the first step", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=30.0, help="λ, the penalty on the vectors", ge=0, log=True
    )
    confidence: float = hyperparameter(
        default=5.0, help="α, what choosing weighs against not choosing", gt=0, log=True
    )
    use_values: bool | None = hyperparameter(
        default=None,
        help="r is the pair's summed values over the mean; none: if kinds have weights",
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        device = run.torch_device()
        observed = dataset.histories.to_csr(len(dataset.items), values=self._weighs)
        positive = observed.data[observed.data > 0]
        self.value_scale: NDArray[np.float64] = np.array(
            [positive.mean() if len(positive) else 1.0]
        )
        weights = self._confidences(observed)
        make = KernelTrainer if device == "cpu" else TorchTrainer
        self._fit_in_epochs(
            make(self, weights, device),
            self.epochs,
            validation,
            run,
            install=self._set_factors,
        )

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["Q"]]

    @property
    def _weighs(self) -> bool:
        return self.data.weighted if self.use_values is None else self.use_values

    def _confidences(self, observed: csr_array) -> csr_array:
        """α r of histories, in the matrix given."""
        np.maximum(observed.data, 0.0, out=observed.data)
        observed.data *= np.float32(self.confidence / self.value_scale[0])
        return observed

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        n_items, k = self.item_factors.shape
        observed = self._confidences(histories.to_csr(n_items, values=self._weighs))
        X, b = np.zeros((len(histories), k), np.float32), np.zeros(len(histories), np.float32)
        GX, Gb = np.zeros_like(X), np.zeros_like(b)
        for _ in range(self.epochs):
            logistic_step(
                *_parts(observed[:, 1:]), X, b, self.item_factors[1:], self.item_biases[1:], GX, Gb,
                np.float32(self.learning_rate), np.float32(self.regularization),
            )  # fmt: skip
        return X


class _Trainer(FactorTrainer):
    """What both ways of training have in common: tables of the users with events and of all items.

    Args:
        model: the hyper-parameters.
        weights: [user rows, item rows], α r.
        device: torch's name of it.

    Attributes:
        observed: α r of those users and of items but the unknown one, and the same transposed.
        sides: of the users and of the items: vectors, biases, Adagrad's sums of both.
    """

    def __init__(self, model: LogisticMF, weights: csr_array, device: str) -> None:
        self.model, self.shape = model, weights.shape
        self.active = np.flatnonzero(np.diff(weights.indptr) > 0)
        users = csr_array(weights[self.active][:, 1:])
        self.observed = (users, csr_array(users.T))
        rng = np.random.default_rng([model.seed, 0])
        self.sides = []
        for n in users.shape:
            vectors = torch.from_numpy(rng.standard_normal((n, model.factors), np.float32))
            vectors = (vectors * _DEVIATION).to(device)
            bias = torch.zeros(n, device=device)
            self.sides.append((vectors, bias, torch.zeros_like(vectors), torch.zeros_like(bias)))

    @abstractmethod
    def _step(self, side: int) -> float:
        """A step of the users, 0, or of the items, 1; the log likelihood before it."""

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        self._step(0)
        pairs = len(self.active) * (self.shape[1] - 1)
        return {"train_loss": -self._step(1) / max(pairs, 1)}

    def factors(self) -> State:
        (X, *_), (Y, c, *_) = self.sides
        P = np.zeros((self.shape[0], self.model.factors), np.float32)
        P[self.active] = X.cpu().numpy()
        Q, biases = np.pad(Y.cpu().numpy(), ((1, 0), (0, 0))), np.pad(c.cpu().numpy(), (1, 0))
        return {"P": P, "Q": Q, "c": biases}

    def restore(self, state: State) -> None:
        (X, *_), (Y, c, *_) = self.sides
        X.copy_(torch.from_numpy(state["P"][self.active]))
        Y.copy_(torch.from_numpy(state["Q"][1:]))
        c.copy_(torch.from_numpy(state["c"][1:]))


class KernelTrainer(_Trainer):
    """Compiled steps on the CPU, the same whatever the number of threads."""

    def _step(self, side: int) -> float:
        X, b, GX, Gb = (tensor.numpy() for tensor in self.sides[side])
        Y, c, *_ = (tensor.numpy() for tensor in self.sides[1 - side])
        rates = np.float32(self.model.learning_rate), np.float32(self.model.regularization)
        found = logistic_step(*_parts(self.observed[side]), X, b, Y, c, GX, Gb, *rates)
        return float(found)


class TorchTrainer(_Trainer):
    """Steps by torch, on any device."""

    def __init__(self, model: LogisticMF, weights: csr_array, device: str) -> None:
        super().__init__(model, weights, device)
        self.pairs = []
        for matrix in self.observed:
            offsets, columns, values = _parts(matrix)
            rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
            at, of = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (rows, columns))
            self.pairs.append((at, of, torch.from_numpy(values).to(device)))

    def _step(self, side: int) -> float:
        X, b, GX, Gb = self.sides[side]
        Y, c, *_ = self.sides[1 - side]
        rates = self.model.learning_rate, self.model.regularization
        return logistic_step_torch(*self.pairs[side], X, b, Y, c, GX, Gb, *rates)


def _parts(matrix: csr_array) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Offsets int64 [n+1], columns int32 [m] and values float32 [m]."""
    m = csr_array(matrix)
    return m.indptr.astype(np.int64), m.indices.astype(np.int32), m.data.astype(np.float32)
