"""Collaborative filtering by a generator of whole purchase vectors and a discriminator (CFGAN)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.als import gram, half_step
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.fold_in import learned_or_folded
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.run import Run

__all__ = ["CFGAN", "Game", "Players", "with_some_unobserved"]


class CFGAN(TrainedInEpochs, VectorRetriever):
    """A generator G of purchase vectors that a discriminator D cannot tell from real ones.

    Rows r are the items' vectors over the users (`based_on="item"`, iCFGAN), or the users' over
    the items (uCFGAN). Conditioned on c = r, G makes a dense vector r̂ = G(c), and D judges a
    vector beside its condition:

        D minimises  - mean [ln D(r | c) + ln(1 - D(r̂ ⊙ (e + k) | c))]                  (eq. 8)
        G minimises  - mean ln D(r̂ ⊙ (e + k) | c) + α mean sum_{j in N} r̂_j²            (eq. 10)

    both with an L2 penalty. e marks what was observed; what else D sees of r̂ is `masking_ratio` of
    the rest, k (partial masking, PM), and N is `zero_ratio` of the rest, which is drawn towards 0
    (zero reconstruction, ZR); both are drawn anew for every batch. The default, both together, is
    the paper's CFGAN-ZP. As the authors' code does, G maximises ln D rather than minimises
    ln(1 - D), its output is linear, and there is no noise in it.

    With one hidden layer σ, as in all the paper's results, r̂ is linear in what the layer says, so
    that a score is a dot product: of users, and of items after the hidden layer, or of users after
    it, and of items. For "user" a query's vector is what the layer makes of its history. For
    "item", where the paper knows no strangers, a user whose history has not changed has the
    learned row of the output layer, and any other history gets one by ridge regression to where
    the two terms of G's loss pull: 1 where observed, 0 elsewhere with the weight of zero
    reconstruction.

    Attributes:
        user_vectors: float32 [user rows, hidden + 1] for "item", else [0, hidden + 1].
        vectors: float32 [item rows, hidden + 1]; the last factor is the bias.
        encoder: float32 [item rows, hidden], with its bias as row 0, for "user", else [0, hidden].
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "cfgan"
    paper: ClassVar[str] = (
        "Chae et al. 2018, CFGAN: A Generic Collaborative Filtering Framework based on Generative "
        "Adversarial Networks (CIKM)"
    )
    learned: ClassVar[tuple[str, ...]] = ("user_vectors", "vectors", "encoder")

    based_on: Literal["item", "user"] = hyperparameter(
        default="user", help="whose purchase vectors are generated"
    )
    hidden: int = hyperparameter(
        default=200, help="width of the generator's hidden layer", ge=1, log=True
    )
    discriminator_hidden: int = hyperparameter(
        default=125, help="width of the discriminator's hidden layer", ge=1, log=True
    )
    zero_weight: float = hyperparameter(
        default=0.3, help="α, the weight of zero reconstruction; 0 for none", ge=0, log=True
    )
    zero_ratio: float = hyperparameter(
        default=0.7, help="share of what was not observed that is drawn towards 0", ge=0, le=1
    )
    masking_ratio: float = hyperparameter(
        default=0.1, help="share of what was not observed that the discriminator sees", ge=0, le=1
    )
    generator_steps: int = hyperparameter(
        default=1, help="passes over the rows for the generator in an epoch", ge=1
    )
    discriminator_steps: int = hyperparameter(
        default=1, help="passes over the rows for the discriminator in an epoch", ge=1
    )
    epochs: int = hyperparameter(
        default=25, help="rounds of both players", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(default=3e-4, help="Adam's step size", gt=0, log=True)
    regularization: float = hyperparameter(
        default=0.001, help="L2 penalty on the generator", ge=0, log=True
    )
    discriminator_regularization: float = hyperparameter(
        default=0.0, help="L2 penalty on the discriminator", ge=0, log=True, search=(1e-6, 1e-2)
    )
    batch_size: int = hyperparameter(default=32, help="rows in a step", ge=1, log=True, tuned=False)
    patience: int = hyperparameter(
        default=10,
        help="with validation: stop after so many epochs without a better one",
        ge=1,
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        rows = dataset.histories.to_csr(len(dataset.items))
        if self.based_on == "item":
            rows = csr_array(rows.T)
            rows.sort_indices()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            players = Players(rows.shape[1], self.hidden, self.discriminator_hidden)
        trainer = Game(players.to(run.torch_device()), rows, self)

        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            install=lambda state: self._set_vectors(state, rows),
        )

    def _set_vectors(self, state: State, rows: csr_array) -> None:
        inner, inner_bias, outer, outer_bias = (
            state[f"generator.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")
        )
        output: NDArray[np.float32] = np.column_stack([outer, outer_bias])
        if self.based_on == "item":
            self.vectors: NDArray[np.float32] = _hidden(rows, inner.T, inner_bias)
            self.user_vectors: NDArray[np.float32] = output
            self.encoder: NDArray[np.float32] = np.zeros((0, self.hidden), np.float32)
        else:
            self.vectors = output
            self.user_vectors = np.zeros((0, self.hidden + 1), np.float32)
            self.encoder = np.ascontiguousarray(inner.T)
            # No history has an entry at the unknown item, so that its row is free.
            self.encoder[0] = inner_bias

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        if self.based_on == "user":
            observed = queries.histories.to_csr(len(self.vectors))
            return _hidden(observed, self.encoder, self.encoder[0])
        learned, n_items = self.user_vectors, len(self.vectors)
        return learned_or_folded(self.histories, queries, learned, n_items, self._fold_in)

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """Rows of the output layer for histories, float32 [B, hidden + 1]."""
        observed = histories.to_csr(len(self.vectors))
        pull = np.float32(max(self.zero_weight * self.zero_ratio, 1e-3))
        ridge = np.full(len(histories), max(self.regularization, 1e-3), np.float32)
        solved: NDArray[np.float32] = half_step(
            observed.indptr,
            observed.indices,
            observed.data,
            self.vectors,
            pull * gram(self.vectors[1:]),
            ridge,
        )
        return solved

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Without the bias, which says how good an item is, not what it is like.
        return cosines(self.vectors[:, :-1], items)


def _hidden(
    rows: csr_array, weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """σ(r W + b) of 0/1 rows [n, m], with a 1 for the bias of the next layer, float32 [n, h + 1]"""
    activity = np.asarray(rows @ weights, np.float32) + bias
    layer: NDArray[np.float32] = np.column_stack(
        [1 / (1 + np.exp(-activity)), np.ones(len(activity), np.float32)]
    ).astype(np.float32)
    return layer


class Players(nn.Module):
    """The generator and the discriminator of vectors [n, size]."""

    def __init__(self, size: int, hidden: int, discriminator_hidden: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(size, hidden), nn.Sigmoid(), nn.Linear(hidden, size)
        )
        self.discriminator = nn.Sequential(
            nn.Linear(2 * size, discriminator_hidden),
            nn.Sigmoid(),
            nn.Linear(discriminator_hidden, 1),
        )
        for layer in (*self.generator, *self.discriminator):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.uniform_(layer.bias, -0.01, 0.01)

    def judge(self, vectors: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """The logits that vectors [B, size] are real, given their conditions: float32 [B, 1]."""
        logits: torch.Tensor = self.discriminator(torch.cat([conditions, vectors], dim=1))
        return logits


class Game(ModuleTrainer):
    """The rounds of both players; `rows` are 0/1 vectors, of which empty ones are passed over."""

    network: Players

    def __init__(self, players: Players, rows: csr_array, model: CFGAN) -> None:
        super().__init__(players)
        self.rows, self.model = rows, model
        self.not_empty = np.flatnonzero(np.diff(rows.indptr))
        self.device = next(players.parameters()).device
        self.generator_optimizer, self.discriminator_optimizer = (
            # Adam's weight decay is the gradient of half the squares: the L2 penalty.
            torch.optim.Adam(
                player.parameters(), lr=model.learning_rate, weight_decay=penalty, fused=True
            )
            for player, penalty in (
                (players.generator, model.regularization),
                (players.discriminator, model.discriminator_regularization),
            )
        )

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        random = generator_of(rng, self.device)
        for _ in range(self.model.discriminator_steps):
            losses = [self._train_discriminator(real, random) for real in self._batches(rng)]
        judged = float(np.mean(losses))
        for _ in range(self.model.generator_steps):
            losses = [self._train_generator(real, random) for real in self._batches(rng)]
        return {"discriminator_loss": judged, "generator_loss": float(np.mean(losses))}

    def _batches(self, rng: np.random.Generator) -> Iterator[torch.Tensor]:
        order = rng.permutation(self.not_empty)
        for start in range(0, len(order), self.model.batch_size):
            batch = self.rows[order[start : start + self.model.batch_size]].toarray()
            yield torch.from_numpy(batch).to(self.device)

    def _train_discriminator(self, real: torch.Tensor, random: torch.Generator) -> float:
        players = self.network
        with torch.no_grad():
            seen = with_some_unobserved(real, self.model.masking_ratio, random)
            fake = players.generator(real) * seen
        loss = functional.softplus(-players.judge(real, real)).mean()
        loss = loss + functional.softplus(players.judge(fake, real)).mean()
        _step(loss, self.discriminator_optimizer)
        return float(loss.detach())

    def _train_generator(self, real: torch.Tensor, random: torch.Generator) -> float:
        players, model = self.network, self.model
        made = players.generator(real)
        seen = with_some_unobserved(real, model.masking_ratio, random)
        zeroed = with_some_unobserved(real, model.zero_ratio, random) - real
        loss = functional.softplus(-players.judge(made * seen, real)).mean()
        loss = loss + model.zero_weight * (made.square() * zeroed).sum(1).mean()
        _step(loss, self.generator_optimizer)
        return float(loss.detach())


def with_some_unobserved(
    observed: torch.Tensor, ratio: float, random: torch.Generator
) -> torch.Tensor:
    """e + k: 0/1 vectors [B, n] with each 0 turned to 1 with probability `ratio`."""
    drawn = torch.rand(observed.shape, generator=random, device=observed.device) < ratio
    return torch.maximum(observed, drawn.to(observed.dtype))


def _step(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of the parameters that the optimizer has, and no gradient for any other."""
    parameters = optimizer.param_groups[0]["params"]
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
