"""What GMF, MLP and NeuMF have in common: a similarity learned from chosen and drawn items."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn
from torch.nn import functional

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import assigned_by_fit, hyperparameter
from tastemap.losses import bce
from tastemap.retrieval.parts.fold_in import unchanged_since
from tastemap.retrieval.parts.neural import NeuralRetriever
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.retrieval.parts.torch_fold_in import Pairs, fold_in
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate

__all__ = ["NCFTrainer", "NeuralCollaborativeFilter", "Similarity", "new_table"]

# Of a fold-in. Learned vectors went through many epochs, without a prior: with 1 the new ones would
# stay closer to the mean user than theirs, and rank worse (movielens-100k, validation part).
_PRIOR = 0.1
# Numbers in the first hidden layer of one tile of pairs.
_TILE_NUMBERS = 4 << 20


class Similarity(nn.Module):
    """A learned similarity of users and items, in three parts.

    What depends on one side alone, `user_keys` and `item_keys`, is computed once for a user or an
    item, and only `logits` for every pair. So the first layer of a perceptron over the pair, W [p;
    q] = W_p p + W_q q, costs no more than an addition a pair.

    Attributes:
        users: float32 [user rows, dim], the vectors p.
        items: float32 [item rows, dim], the vectors q.
    """

    users: nn.Parameter
    items: nn.Parameter

    @abstractmethod
    def user_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        """What of users' vectors [..., dim] is compared, [..., keys]."""

    @abstractmethod
    def item_keys(self, vectors: torch.Tensor) -> torch.Tensor:
        """What of items' vectors [..., dim] is compared, [..., keys]."""

    @abstractmethod
    def logits(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The logit of each pair of keys, [..., keys] each and broadcast, [...]."""

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The logits of users int64 [B] with items int64 [B, n], float32 [B, n]."""
        # index_select, whose gradient on a CPU takes half the time of that of an embedding.
        user_keys = self.user_keys(self.users.index_select(0, users))
        if items.numel() > len(self.items):
            item_keys = self.item_keys(self.items).index_select(0, items.flatten())
        else:
            item_keys = self.item_keys(self.items.index_select(0, items.flatten()))
        return self.logits(user_keys[:, None], item_keys.view(*items.shape, -1))


def new_table(rows: int, dim: int) -> nn.Parameter:
    """Vectors from N(0, 0.01²), as in section 4.1 of He et al. 2017."""
    return nn.Parameter(torch.randn(rows, dim) * 0.01)


class NCFTrainer(ModuleTrainer):
    """Binary cross-entropy of what was chosen against items drawn anew for each epoch.

    Args:
        network: what is trained, in place, on the device that it is on.
        histories: [user rows], what was chosen.
        optimizer: of the network's parameters.
        epochs: passes over which the step size falls to 0.
        negatives: items drawn for each that was chosen.
        batch_size: chosen items in a step.
        regularization: the penalty on the squared length of each vector, each time it is used, and
            on the squares of the layers' weights.
    """

    def __init__(
        self,
        network: Similarity,
        histories: Histories,
        optimizer: torch.optim.Optimizer,
        *,
        epochs: int,
        negatives: int,
        batch_size: int,
        regularization: float,
    ) -> None:
        super().__init__(network)
        self.similarity, self.optimizer = network, optimizer
        self.epochs, self.negatives = epochs, negatives
        self.batch_size, self.regularization = batch_size, regularization
        self.device = network.items.device
        known = histories.items > 0
        users, items = histories.rows_of_events()[known], histories.items[known]
        self.users = torch.from_numpy(users.astype(np.int64)).to(self.device)
        self.positives = torch.from_numpy(items.astype(np.int64)).to(self.device)
        self.sampler = UniformSampler(len(network.items), self.users, self.positives)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        lower_rate(self.optimizer, epoch, self.epochs)
        generator = generator_of(rng, self.device)
        order = torch.randperm(len(self.users), generator=generator, device=self.device)
        users, positives = self.users[order], self.positives[order]
        drawn = self.sampler.sample(users, positives, self.negatives, generator)
        items = torch.cat([positives[:, None], drawn.ids], dim=1)
        total = torch.zeros((), device=self.device)
        for batch in range(0, len(order), self.batch_size):
            of_step = slice(batch, batch + self.batch_size)
            logits = self.similarity(users[of_step], items[of_step])
            loss = bce(logits[:, 0], logits[:, 1:], drawn.mask[of_step])
            total += loss.detach() * len(logits)
            if self.regularization > 0:
                penalty = self._lengths(users[of_step], items[of_step]) + self._weights()
                loss = loss + self.regularization * penalty
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return {"loss": float(total / max(len(order), 1))}

    def _lengths(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The mean of |p|² + |q|² over pairs of users [B] and items [B, n]."""
        of_users = self.similarity.users.square().sum(1)
        of_items = self.similarity.items.square().sum(1)
        return (
            of_users.index_select(0, users).mean()
            + of_items.index_select(0, items.flatten()).mean()
        )

    def _weights(self) -> torch.Tensor:
        """The sum of squares of the layers' weights: without it they grow as the vectors shrink."""
        tables = self.similarity.users, self.similarity.items
        weights = [p for p in self.similarity.parameters() if p.ndim > 1]
        squares = [w.square().sum() for w in weights if not any(w is table for table in tables)]
        return torch.stack(squares).sum() if squares else torch.zeros((), device=self.device)


class NeuralCollaborativeFilter(PretrainedItems, NeuralRetriever):
    """A retriever that has learned a `Similarity`.

    A user whose history has not changed since training has the vector learned in training; to every
    other history one is fitted with all else held fixed (`torch_fold_in`).
    """

    network: Similarity = assigned_by_fit()

    factors: int = hyperparameter(
        default=32, help="predictive factors: size of what the last layer sees", ge=1, log=True
    )
    negatives: int = hyperparameter(
        default=8, help="items drawn for each that was chosen", ge=1, le=100
    )
    epochs: int = hyperparameter(
        default=20, help="passes over the events", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.005, help="first step size of Adam, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=1e-5, help="L2 penalty on vectors and on layers' weights", ge=0, log=True
    )
    batch_size: int = hyperparameter(
        default=1024, help="chosen items in a step", ge=1, le=1 << 24, log=True, tuned=False
    )

    @abstractmethod
    def make_network(self) -> Similarity: ...

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self.start_network(self.seed, run.torch_device())
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, fused=True)
        self._train(optimizer, dataset, validation, run)

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["items"]]

    def _train(
        self,
        optimizer: torch.optim.Optimizer,
        dataset: Dataset,
        validation: Holdout | None,
        run: Run,
    ) -> None:
        trainer = NCFTrainer(
            self.network,
            dataset.histories,
            optimizer,
            epochs=self.epochs,
            negatives=self.negatives,
            batch_size=self.batch_size,
            regularization=self.regularization,
        )
        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            install=lambda _: self._prepare(),
        )
        self.finish_network()
        self._prepare()

    def _prepare(self) -> None:
        """What answers need of the network as it is: the items' keys, and how users lie."""
        with torch.no_grad():
            self._item_keys = self.network.item_keys(self.network.items).detach()
            learned = self.network.users[self.to_tensor(np.flatnonzero(self.histories.counts))]
            self._mean, self._spread = learned.mean(0), learned.std(0, correction=0)

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        super()._restore(tensors)
        self._prepare()

    # -- answers --------------------------------------------------------------------------------

    @torch.no_grad()
    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        users = self.network.user_keys(self.query_vectors(queries))
        keys = self._item_keys if items is None else self._item_keys[self.to_tensor(items)]
        scores = torch.empty(len(users), len(keys), device=self.device)
        width = max(1, min(len(keys), _TILE_NUMBERS // keys.shape[1]))
        height = max(1, _TILE_NUMBERS // (keys.shape[1] * width))
        for row in range(0, len(users), height):
            for column in range(0, len(keys), width):
                tile = slice(row, row + height), slice(column, column + width)
                scores[tile] = self.network.logits(users[tile[0], None], keys[None, tile[1]])
        return scores.cpu().numpy()

    def query_vectors(self, queries: Queries) -> torch.Tensor:
        """The vector p of each query, float32 [B, dim]."""
        unchanged = unchanged_since(self.histories, queries)
        users = np.where(unchanged, queries.users, 0)
        vectors = self.network.users.detach()[self.to_tensor(users)]
        changed = np.flatnonzero(~unchanged)
        if len(changed):
            vectors[self.to_tensor(changed)] = fold_in(
                queries.histories.take(changed).known(len(self.network.items)),
                self._losses,
                start=self._mean,
                scale=self._spread,
                n_items=len(self.network.items),
                negatives=self.negatives,
                seed=self.seed,
                prior=_PRIOR,
            )
        return vectors

    def _losses(self, vectors: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        """The loss of training of each event, summed over its positive and negatives, [m]."""
        items = torch.cat([pairs.positives[:, None], pairs.negatives], dim=1)
        keys = self._item_keys.index_select(0, items.flatten()).view(*items.shape, -1)
        users = self.network.user_keys(vectors).index_select(0, pairs.rows)
        logits = self.network.logits(users[:, None], keys)
        drawn = functional.softplus(logits[:, 1:]).masked_fill(pairs.negatives == 0, 0.0)
        return functional.softplus(-logits[:, 0]) + drawn.sum(1)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # By how much one choice raises the probability of each item: vectors alone say little under
        # a perceptron, and scores say first of all what is popular.
        nothing, one = Histories.empty(1), Histories.from_lists(items[:, None])
        before, after = (expit(self.score(Queries.of(h))) for h in (nothing, one))
        raised: NDArray[np.float32] = after - before
        return raised
