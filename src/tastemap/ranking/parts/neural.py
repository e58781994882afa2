"""What rankers have in common that have learned a torch module."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.errors import ParameterError
from tastemap.features.batch import FeatureBatch
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.nn.candidate_attention import CandidateAttention
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.numbers import NumberVectors, ScaledNumbers
from tastemap.nn.optimizers import sparse_adam
from tastemap.nn.periodic import Periodic
from tastemap.nn.piecewise_linear import PiecewiseLinear
from tastemap.nn.target_bins import TargetPiecewiseLinear
from tastemap.ranking.base import Ranker
from tastemap.ranking.labelled import Labelled
from tastemap.ranking.parts.fields import Fields, Tables
from tastemap.ranking.parts.inputs import Inputs
from tastemap.ranking.parts.networks import Members, RankingNetwork, SharedBottom
from tastemap.ranking.parts.objectives import Objective, make_objective
from tastemap.ranking.parts.position_bias import Examined, PositionBias
from tastemap.training.loop import Training, train
from tastemap.training.module import ModuleTrainer, generator_of, seeded, tensor_of
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate

__all__ = ["NeuralRanker", "adams"]

# Rows scored at a time.
_TILE = 8192
# Share of the known places that training takes for unknown ones.
_POSITION_DROPOUT = 0.1


class NeuralRanker(Ranker):
    """A ranker that has learned a network; a subclass writes `make_network`.

    Attributes:
        network: on the CPU and in evaluation mode after a fit.
        training: how the training went, right after a fit; with `refit` the one that was measured.
    """

    rate_falls: ClassVar[bool] = True
    """Whether the step size falls in a line to 0."""

    numbers: Literal["piecewise", "piecewise_target", "periodic", "scaled"] = hyperparameter(
        default="piecewise", help="how numbers are encoded: how far they reach into bins made of "
        "quantiles, or of a tree that foretells the label, sines and cosines of learned "
        "frequencies, or plainly", tuned=False,
    )  # fmt: skip
    bins: int = hyperparameter(
        default=32, help="piecewise: bins of each number; periodic: frequencies", ge=1, le=1024,
        log=True,
    )  # fmt: skip
    tables: Literal["separate", "hashed", "multiplexed"] = hyperparameter(
        default="separate", help="whose rows vectors of values are: one for each value, hashed "
        "where a feature has many, or hashed into one table of all features", tuned=False,
    )  # fmt: skip
    table_rows: int = hyperparameter(
        default=1 << 16, help="hashed and multiplexed: vectors that the table has room for", ge=1,
        log=True, tuned=False,
    )  # fmt: skip
    lookups: int = hyperparameter(
        default=2, help="multiplexed: parts of a vector, each a row of its own", ge=1, le=64,
        tuned=False,
    )  # fmt: skip
    dim: int = hyperparameter(default=32, help="length of the vectors", ge=1, le=1024, log=True)
    regularization: float = hyperparameter(
        default=0.05, help="of the squared vectors of each row's features", ge=0, log=True,
        search=(1e-3, 0.3),
    )  # fmt: skip
    members: int = hyperparameter(
        default=1, help="networks that learn side by side, whose log-odds are averaged: better, "
        "and so much slower", ge=1, le=64, tuned=False,
    )  # fmt: skip
    learning_rate: float = hyperparameter(
        default=0.01, help="the first step size of Adam; it falls in a line to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(default=1024, help="rows in a step", ge=1, tuned=False)
    epochs: int = hyperparameter(default=15, help="passes over the rows", ge=1, tuned=False)
    patience: int = hyperparameter(
        default=3, help="with validation: stop after so many epochs without a better one", ge=1,
        tuned=False,
    )  # fmt: skip
    seed: int = hyperparameter(default=0, help="of all random numbers", ge=0, tuned=False)

    network: RankingNetwork = assigned_by_fit()
    training: Training = assigned_by_fit()

    @abstractmethod
    def make_network(self) -> RankingNetwork:
        """The untrained network, from the hyper-parameters and `self.schema`."""

    def make_task_network(self, tasks: int) -> RankingNetwork:
        """The untrained network of several tasks: one of each, which share vectors."""
        return SharedBottom([self.make_network() for _ in range(tasks)])

    def _made(self) -> RankingNetwork:
        """The untrained network of what is to be foretold."""
        if self.members == 1:
            return seeded(self.seed, self._made_member)
        return seeded(
            self.seed, lambda: Members([self._made_member() for _ in range(self.members)])
        )

    def _made_member(self) -> RankingNetwork:
        if self._tasks is None:
            return self.make_network()
        return self.make_task_network(len(self._tasks))

    def make_fields(
        self, dim: int, attention: Callable[[], CandidateAttention] | None = None
    ) -> Fields:
        """What makes vectors of this length for all features, and means of sequences where there is
        no attention."""
        tables = Tables(self.tables, self.table_rows, self.lookups)
        return Fields(self.schema, dim, self.make_numbers(dim), tables, attention=attention)

    def make_numbers(self, dim: int) -> NumberVectors:
        """What makes vectors of the numeric features."""
        features = len(self.schema.numeric)
        match self.numbers:
            case "piecewise":
                return PiecewiseLinear(features, dim, self.bins)
            case "piecewise_target":
                return TargetPiecewiseLinear(features, dim, self.bins)
            case "periodic":
                return Periodic(features, dim, self.bins, deviation=0.1)
            case "scaled":
                return ScaledNumbers(features, dim)

    def optimizers(self, network: RankingNetwork) -> list[torch.optim.Optimizer]:
        """What trains the network: Adam for all of it."""
        return adams(network, list(network.parameters()), self.learning_rate)

    def _fit(self, train_rows: Labelled, validation: Labelled | None, run: Run) -> None:
        self.network, self.training = self._trained(train_rows, validation, self.epochs, run)

    def _fit_again(self, rows: Labelled, run: Run) -> bool:
        # Ctrl-C keeps the best so far, and that is the network that there is.
        with suppress(KeyboardInterrupt):
            self.training.go_on()
            network, training = self._trained(rows, None, self.training.best_epoch, run)
            training.go_on()
            self.network = network
            return True
        return False

    def _trained(
        self, train_rows: Labelled, validation: Labelled | None, epochs: int, run: Run
    ) -> tuple[RankingNetwork, Training]:
        """A network after so many of the epochs, or after as many of them as were best."""
        device = run.torch_device()
        network = self._made()
        for module in network.modules():
            if isinstance(module, Fields):
                module.look_at(train_rows.features, train_rows.worth)
        network.to(device)
        bias = None
        if train_rows.positions is not None:
            bias = PositionBias(train_rows.labels.shape[1:]).to(device)

        def objective_of(rows: Labelled, position_dropout: float) -> Objective:
            objective = make_objective(self.objective, rows, device, self._tasks)
            if bias is None or rows.positions is None:
                return objective
            return Examined(objective, tensor_of(rows.positions, device), bias, position_dropout)

        objective = objective_of(train_rows, _POSITION_DROPOUT)
        trainer = _Trainer(self, network, Inputs(train_rows.features, device), objective, bias)
        if validation is not None:
            held = Inputs(validation.features, device)
            measured = objective_of(validation, 0.0)

        def validate() -> dict[str, float]:
            return {measured.metric: _mean_loss(measured, _logits(network, held))}

        training = train(
            trainer,
            epochs=epochs,
            seed=self.seed,
            run=run,
            about=lambda: self.described(train_rows),
            validate=None if validation is None else validate,
            monitor=None if validation is None else measured.metric,
            higher_is_better=False,
            patience=self.patience,
        )
        return network.cpu().eval(), training

    def _score(self, features: FeatureBatch) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = _logits(self.network, Inputs(features, "cpu")).numpy()
        return scores

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.network = self._made()
        try:
            self.network.load_state_dict({name: torch.tensor(a) for name, a in tensors.items()})
        except RuntimeError as error:
            raise ParameterError(
                f"the stored network does not fit {type(self).__name__}: {error}"
            ) from None
        self.network.eval()


@torch.inference_mode()
def _logits(network: RankingNetwork, inputs: Inputs) -> torch.Tensor:
    """The log-odds of all rows, float32 [n] or [n, tasks]."""
    network.eval()
    device = next(network.parameters()).device
    places = torch.split(torch.arange(len(inputs), device=device), _TILE)
    return torch.cat([network(inputs.batch(tile)) for tile in places])


@torch.no_grad()
def _mean_loss(objective: Objective, scores: torch.Tensor) -> float:
    """The mean over all examples, of scores of all rows."""
    everything = torch.arange(len(objective), device=scores.device)
    parts = objective.batches(everything, _TILE)
    losses = [objective.loss(scores[objective.rows(each)], each) * len(each) for each in parts]
    return torch.stack(losses).double().sum().item() / len(objective)


def adams(
    network: nn.Module, parameters: list[nn.Parameter], learning_rate: float
) -> list[torch.optim.Optimizer]:
    """Adam for some parameters of a network, its lazy form for tables with sparse gradients."""
    tables = [each for each in network.modules() if isinstance(each, EmbeddingTable)]
    lazy = {id(table.weight) for table in tables if table.sparse}
    made: list[torch.optim.Optimizer] = []
    if dense := [each for each in parameters if id(each) not in lazy]:
        made.append(torch.optim.Adam(dense, lr=learning_rate, fused=True))
    if sparse := [each for each in parameters if id(each) in lazy]:
        made.append(sparse_adam(sparse, learning_rate))
    return made


class _Trainer(ModuleTrainer):
    """The objective over all rows, in random order, and a penalty on their vectors.

    A vector is made smaller in each row that it stands in, as in LIBFM and LIBFFM, so that frequent
    values are held back as rare ones are, and only rows of the table that a batch has are touched.
    """

    network: RankingNetwork

    def __init__(
        self,
        model: NeuralRanker,
        network: RankingNetwork,
        inputs: Inputs,
        objective: Objective,
        bias: PositionBias | None,
    ) -> None:
        super().__init__(network)
        self.model, self.inputs, self.objective = model, inputs, objective
        self.learning = network.learning()
        self.optimizers = [each for part in self.learning for each in model.optimizers(part)]
        if bias is not None:
            self.optimizers.append(torch.optim.Adam(bias.parameters(), lr=model.learning_rate))

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        model, n, device = self.model, len(self.objective), self.objective.device
        order = torch.randperm(n, generator=generator_of(rng, device), device=device)
        batches = self.objective.batches(order, model.batch_size)
        total = torch.zeros((), dtype=torch.float64, device=device)
        self.network.train()
        # Dropout draws from torch's own stream, which is the caller's.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(int(rng.integers(1 << 62)))
            for place, examples in enumerate(batches):
                for optimizer in self.optimizers if model.rate_falls else ():
                    lower_rate(optimizer, epoch + place / len(batches), model.epochs)
                total += self._step(examples) * len(examples)
        self.network.eval()
        return {"loss": total.item() / n}

    def _step(self, examples: torch.Tensor) -> torch.Tensor:
        batch = self.inputs.batch(self.objective.rows(examples))
        vectors = self.network.vectors(batch)
        # The gradient of regularization × Σ v² / B; written as a part of the loss it would take
        # several passes over all numbers.
        held, pull = vectors.detach(), 2 * self.model.regularization / len(batch)
        vectors.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient.add(held, alpha=pull)
        )
        said = self.network.said(self.network.logits(batch, vectors))
        # Added up, so that what holds a member's vectors back counts as much beside its loss as it
        # does for one network alone.
        loss = torch.stack([self.objective.loss(scores, examples) for scores in said]).sum()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach() / len(said)
