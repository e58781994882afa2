"""A generator that samples items and a discriminator that rewards it (IRGAN)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.irgan_training import Game, Players, Pretraining
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.fold_in import learned_or_folded
from tastemap.retrieval.parts.torch_fold_in import Pairs, fold_in
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["IRGAN"]


class IRGAN(TrainedInEpochs, VectorRetriever):
    """Matrix factorisation that learns to generate items which another one takes for chosen.

    Both players score by f(u, i) = p_u · q_i + b_i (eq. 17). The generator's items are drawn from
    the softmax p(i|u) of its scores; the discriminator says with probability σ(f) that the user has
    chosen an item. In every round

    1. the discriminator learns to tell each chosen item from one generated, which is drawn at a
       `temperature` below 1 (eq. 3), by logistic loss;
    2. the generator follows the policy gradient of the expected reward r = 2 (σ(f) - 1/2) (eq. 5
       and section 2.3): for every user twice as many items as were chosen are drawn, not from p
       but from (1 - λ) p + λ (uniform over what was chosen), with importance weights
       (section 2.5 and the authors' code), and

           grad mean_k r_k w_k ln p(i_k|u)

       is ascended, for all of a user's samples at once.

    Both start from one factorisation that was pre-trained (Algorithm 1) with BPR on dynamic
    negatives, the highest scored of five (Zhang et al. 2013), as the authors' generator does. The
    steps are Adam's over batches of users, where the authors go user by user with SGD. The
    generator answers, as in the paper's recommendation experiment.

    A user whose history has not changed since training has the vector learned in training. To every
    other history one is fitted with the items held fixed, under which the generator most likely
    gives what was chosen.

    Attributes:
        user_vectors: float32 [user rows, factors + 1], (p_u, 1) of the generator.
        vectors: float32 [item rows, factors + 1], (q_i, b_i) of the generator.
        training: how the rounds went, right after `fit`.
    """

    name: ClassVar[str] = "irgan"
    paper: ClassVar[str] = (
        "Wang et al. 2017, IRGAN: A Minimax Game for Unifying Generative and Discriminative "
        "Information Retrieval Models (SIGIR)"
    )
    learned: ClassVar[tuple[str, ...]] = ("user_vectors", "vectors")

    factors: int = hyperparameter(default=32, help="length of the vectors", ge=1, log=True)
    pretraining_epochs: int = hyperparameter(
        default=25, help="passes over the events before the game", ge=0, log=True, tuned=False
    )
    epochs: int = hyperparameter(
        default=4, help="rounds of both players", ge=1, log=True, tuned=False
    )
    discriminator_steps: int = hyperparameter(
        default=2, help="passes over the events for the discriminator in a round", ge=1
    )
    generator_steps: int = hyperparameter(
        default=1, help="passes over the users for the generator in a round", ge=1
    )
    learning_rate: float = hyperparameter(
        default=1e-4, help="Adam's step size in the game", gt=0, log=True
    )
    pretraining_rate: float = hyperparameter(
        default=0.003, help="Adam's step size in pre-training", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.02, help="L2 penalty on the vectors that a step of pre-training or of the "
        "discriminator touches", ge=0, log=True
    )  # fmt: skip
    positive_share: float = hyperparameter(
        default=0.2, help="λ, the share of the generator's samples from what was chosen", ge=0, lt=1
    )
    temperature: float = hyperparameter(
        default=0.2, help="of the softmax that gives the discriminator its negatives", gt=0
    )
    batch_size: int = hyperparameter(
        default=1024, help="events in a step", ge=1, log=True, tuned=False
    )
    users_per_step: int = hyperparameter(
        default=64, help="users in a step of the generator", ge=1, log=True, tuned=False
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        chosen = dataset.histories.to_csr(len(dataset.items))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            players = Players(len(dataset.users), len(dataset.items), self.factors)
        players.to(run.torch_device())

        if self.pretraining_epochs > 0:
            # What the run folder and the tracker keep is the game.
            self._fit_in_epochs(
                Pretraining(players, chosen, self),
                self.pretraining_epochs,
                validation,
                replace(run, folder=None, tracker=None),
                install=self._set_vectors,
            )
        players.discriminator.load_state_dict(players.generator.state_dict())
        game = Game(players, chosen, self)
        self._fit_in_epochs(game, self.epochs, validation, run, install=self._set_vectors)

    def _set_vectors(self, state: State) -> None:
        p, q, b = (state[f"generator.{name}.weight"] for name in ("users", "items", "biases"))
        self.user_vectors: NDArray[np.float32] = np.column_stack([p, np.ones(len(p), np.float32)])
        self.vectors: NDArray[np.float32] = np.column_stack([q, b])

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        learned, n_items = self.user_vectors, len(self.vectors)
        return learned_or_folded(self.histories, queries, learned, n_items, self._fold_in)

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """(p_u, 1) of histories without unknown items, float32 [B, factors + 1]."""
        q, b = torch.from_numpy(self.vectors[1:, :-1]), torch.from_numpy(self.vectors[1:, -1])

        def losses(users: torch.Tensor, pairs: Pairs) -> torch.Tensor:
            likelihoods = torch.log_softmax(users @ q.T + b, dim=1)
            return -likelihoods[pairs.rows, pairs.positives - 1]

        learned = torch.from_numpy(self.user_vectors[self.histories.counts > 0, :-1])
        found: NDArray[np.float32] = fold_in(
            histories,
            losses,
            start=learned.mean(0),
            scale=learned.std(0, unbiased=False),
            n_items=len(self.vectors),
            negatives=0,
            seed=self.seed,
        ).numpy()
        return np.column_stack([found, np.ones(len(found), np.float32)])

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of the factors alone: a bias says how good an item is, not what it is like.
        return cosines(self.vectors[:, :-1], items)
