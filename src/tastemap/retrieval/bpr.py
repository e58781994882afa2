"""Bayesian personalized ranking."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.blocks import Blocks
from tastemap.kernels.bpr import bpr_epoch, bpr_fold_in
from tastemap.losses.bpr import bpr
from tastemap.retrieval.parts.pairwise import (
    PairKernelTrainer,
    PairTorchTrainer,
    PairwiseModel,
    Sizes,
)
from tastemap.sampling.hard import HardSampler
from tastemap.sampling.uniform import UniformSampler

__all__ = ["BPR"]


class BPR(PairwiseModel):
    """Matrix factorisation that puts what a user chose before what they did not.

        x_ui = p_u · q_i + c_i

    For each event (u, i) and an item j that u has not chosen, SGD takes a step on

        -ln σ(x_ui - x_uj) + λ/2 (|p_u|² + |q_i|² + |q_j|²) + λ_c/2 (c_i² + c_j²)

    (LearnBPR, Rendle et al. 2009, sections 4.1 to 4.3; λ and λ_c are `regularization` and
    `bias_regularization`), with a step size that falls linearly to 0. Items drawn uniformly soon
    teach little, since most already stand far below. So `candidates` items are drawn and the one
    with the highest score is taken (Zhang et al. 2013): the same end as the adaptive oversampling
    of Rendle & Freudenthaler (2014), negatives in step with the model, without its sorted lists;
    with 1 it is plain BPR.

    On the CPU compiled kernels train, the same whatever the number of threads; elsewhere torch, in
    batches. A history that training has not seen gets a vector by the same steps with the items
    held fixed.

    Attributes:
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "bpr"
    paper: ClassVar[str] = (
        "Rendle et al. 2009, BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI); "
        "Zhang et al. 2013, Optimizing Top-N Collaborative Filtering via Dynamic Negative Item "
        "Sampling (SIGIR)"
    )

    factors: int = hyperparameter(
        default=64, help="length of the vectors, without the bias", ge=1, le=4096, log=True
    )
    epochs: int = hyperparameter(
        default=40, help="passes over the events", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.2, help="first step size, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.03, help="λ, the penalty on the vectors", ge=0, log=True
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="λ_c, the penalty on the items' biases", ge=0, log=True
    )
    candidates: int = hyperparameter(
        default=3,
        help="items drawn for each event, of which the highest scored is the negative",
        ge=1,
        le=1000,
        log=True,
    )
    batch_size: int = hyperparameter(
        default=4096,
        help="events in a step where torch trains, that is on a GPU",
        ge=1,
        log=True,
        tuned=False,
    )

    def _kernel_trainer(self) -> PairKernelTrainer:
        return _KernelTrainer(self)

    def _torch_trainer(self, device: str) -> PairTorchTrainer:
        return TorchTrainer(self, device)

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        found: NDArray[np.float32] = bpr_fold_in(
            histories.offsets, histories.items, self.item_factors, self.item_biases,
            np.float32(self.learning_rate), np.float32(self.regularization), self.candidates,
            self.epochs, np.uint64(self.seed),
        )  # fmt: skip
        return found


class _KernelTrainer(PairKernelTrainer):
    model: BPR

    def _epoch(
        self, sizes: Sizes, blocks: Blocks, order: NDArray[np.int64], seed: np.uint64
    ) -> tuple[float, int]:
        total, count = bpr_epoch(
            *blocks, order, self.offsets, self.chosen, self.P, self.Q, self.c,
            *sizes, self.model.candidates, seed,
        )  # fmt: skip
        return total, count


class TorchTrainer(PairTorchTrainer):
    """The steps of the kernel in batches: all events of one start from the same place."""

    model: BPR

    def __init__(self, model: BPR, device: str) -> None:
        super().__init__(model, device)
        self.optimizer = torch.optim.SGD(self.tables.parameters(), lr=model.learning_rate)
        uniform = UniformSampler(len(model.items), self.users, self.items)
        self.sampler = HardSampler(uniform, self.tables, model.candidates)

    def _loss(
        self, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        negatives, mask = self.sampler.draw(users, items, 1, generator)
        pairs = torch.cat([items[:, None], negatives], 1)
        scores = self.tables(users, pairs)
        penalty = self._penalty(
            users, pairs, self.model.regularization, self.model.bias_regularization
        )
        return bpr(scores[:, 0], scores[:, 1:], mask), penalty
