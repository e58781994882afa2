"""Weighted approximate-rank pairwise loss."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.blocks import Blocks
from tastemap.kernels.warp import warp_epoch, warp_fold_in
from tastemap.losses.warp import warp_of_trials
from tastemap.nn.optimizers import RowwiseAdagrad, sparse_sgd
from tastemap.retrieval.parts.pairwise import (
    PairKernelTrainer,
    PairTorchTrainer,
    PairwiseModel,
    Sizes,
)
from tastemap.sampling.uniform import UniformSampler

__all__ = ["WARP"]


class WARP(PairwiseModel):
    """Matrix factorisation that mends the top of the list first.

        x_ui = p_u · q_i + c_i

    For each event (u, i), items that u has not chosen are drawn until one, j, violates the margin,
    x_uj > x_ui - 1, at most `trials` times. If that took N draws, the rank of i is about
    r = ⌊(items - 1) / N⌋, and the step is taken on

        L(r) (1 - x_ui + x_uj) + λ/2 (|p_u|² + |q_i|² + |q_j|²) + λ_c/2 (c_i² + c_j²)

    with L(r) = sum_{k=1..r} 1/k (Weston, Bengio & Usunier 2011, equations 2 to 4 and Algorithm 1,
    with the margin of 1 and the user's vector in place of the image's, as in LightFM, which takes
    ln r for L). Steps are Adagrad's with one accumulator a row, or plain; their size falls linearly
    to 0. On the CPU compiled kernels train, the same whatever the number of threads; elsewhere
    torch, in batches. A history that training has not seen gets a vector by the same steps with the
    items held fixed.

    Attributes:
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "warp"
    paper: ClassVar[str] = (
        "Weston, Bengio & Usunier 2011, WSABIE: Scaling Up To Large Vocabulary Image Annotation "
        "(IJCAI)"
    )

    factors: int = hyperparameter(
        default=64, help="length of the vectors, without the bias", ge=1, le=4096, log=True
    )
    epochs: int = hyperparameter(
        default=30, help="passes over the events", ge=1, log=True, tuned=False
    )
    optimizer: Literal["adagrad", "sgd"] = hyperparameter(
        default="adagrad", help="steps that shrink as a row is changed more, or plain ones"
    )
    learning_rate: float = hyperparameter(
        default=0.05, help="first step size, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.4, help="λ, the penalty on the vectors", ge=0, log=True
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="λ_c, the penalty on the items' biases", ge=0, log=True
    )
    trials: int = hyperparameter(
        default=30, help="draws for each event, at most", ge=1, le=1000, log=True
    )
    batch_size: int = hyperparameter(
        default=1024,
        help="events in a step where torch trains, that is on a GPU",
        ge=1,
        log=True,
        tuned=False,
    )

    def _kernel_trainer(self) -> PairKernelTrainer:
        return _KernelTrainer(self)

    def _torch_trainer(self, device: str) -> PairTorchTrainer:
        return TorchTrainer(self, device)

    @property
    def adapt(self) -> np.float32:
        """What a squared gradient adds to the accumulator of its row."""
        return np.float32(self.optimizer == "adagrad")

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        found: NDArray[np.float32] = warp_fold_in(
            histories.offsets, histories.items, self.item_factors, self.item_biases,
            rank_weights(len(self.item_factors) - 1, self.trials), np.float32(self.learning_rate),
            np.float32(self.regularization), self.adapt, self.epochs, np.uint64(self.seed),
        )  # fmt: skip
        return found


def rank_weights(n_items: int, trials: int) -> NDArray[np.float32]:
    """L(⌊(n_items - 1) / N⌋) for N from 0, where it stands for nothing, to `trials`; at least L(1),
    since a violator has been found."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, max(n_items, 2)))])
    ranks = np.maximum((n_items - 1) // np.maximum(np.arange(trials + 1), 1), 1)
    weights: NDArray[np.float32] = harmonic[ranks].astype(np.float32)
    return weights


class _KernelTrainer(PairKernelTrainer):
    model: WARP

    def __init__(self, model: WARP) -> None:
        super().__init__(model)
        n_items = len(model.items)
        self.weights = rank_weights(n_items - 1, model.trials)
        self.GP, self.GQ, self.Gc = (
            np.ones(n, np.float32) for n in (len(self.P), n_items, n_items)
        )

    def _epoch(
        self, sizes: Sizes, blocks: Blocks, order: NDArray[np.int64], seed: np.uint64
    ) -> tuple[float, int]:
        total, _ = warp_epoch(
            *blocks, order, self.offsets, self.chosen, self.P, self.Q, self.c,
            self.GP, self.GQ, self.Gc, self.weights, *sizes, self.model.adapt, seed,
        )  # fmt: skip
        return total, len(blocks.users)


class TorchTrainer(PairTorchTrainer):
    """The steps of the kernel in batches: all events of one start from the same place."""

    model: WARP

    def __init__(self, model: WARP, device: str) -> None:
        super().__init__(model, device)
        tables, rate = self.tables.parameters(), model.learning_rate
        self.optimizer = (
            RowwiseAdagrad(tables, rate, start=1.0)
            if model.optimizer == "adagrad"
            else sparse_sgd(tables, rate)
        )
        self.sampler = UniformSampler(len(model.items), self.users, self.items)
        self.n_items = len(model.items) - 1

    def _loss(
        self, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        negatives, _, mask = self.sampler.sample(users, items, self.model.trials, generator)
        with torch.no_grad():
            scores = self.tables(users, torch.cat([items[:, None], negatives], 1))
            violates = (scores[:, 1:] > scores[:, :1] - 1) & mask
            first = violates.to(torch.int8).argmax(1, keepdim=True)
        # Only the first violator has a gradient, and only its row is looked up with one.
        pairs = torch.cat([items[:, None], negatives.gather(1, first)], 1)
        at = self.tables(users, pairs)
        drawn = scores[:, 1:].scatter(1, first, at[:, 1:])
        loss = warp_of_trials(at[:, 0], drawn, mask, n_items=self.n_items)
        hit = violates.any(1)
        penalty = self._penalty(
            users[hit], pairs[hit], self.model.regularization, self.model.bias_regularization
        )
        return loss, penalty * hit.float().mean()
