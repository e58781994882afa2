"""Collaborative metric learning: what a user likes lies near the user (CML)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.losses import triplet
from tastemap.nn.rowwise_adagrad import RowwiseAdagrad
from tastemap.retrieval.base import VectorRetriever
from tastemap.retrieval.parts.fold_in import learned_or_folded
from tastemap.retrieval.parts.pretrained_items import PretrainedItems
from tastemap.retrieval.parts.torch_fold_in import Pairs, fold_in
from tastemap.sampling.uniform import UniformSampler
from tastemap.training.loop import State
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.run import Run
from tastemap.training.schedule import lower_rate

__all__ = ["CML", "covariance", "into_unit_ball"]


class CML(PretrainedItems, VectorRetriever):
    """Users u and items v in the unit ball; the nearer an item, the better it fits.

    For every chosen item, `negatives` others are drawn and the nearest one, k, is pushed away:

        L = mean w_ui [m + |u - v_i|² - |u - v_k|²]₊ + λ sum_{a≠b} C_ab²

    with m the `margin` (eq. 1). w_ui = ln(rank + 1), where the rank of i is estimated by the share
    of the drawn that violate the margin, times the number of items (eq. 2 and section 3.2). C is
    the covariance of the dimensions over the vectors of a batch, which λ keeps from being redundant
    (section 3.4; the squares of its entries are ours, as the printed formula mixes a norm and a
    squared norm). Vectors longer than 1 are cut to 1 after each step (eq. 3), and Adagrad takes the
    steps, as in section 3.5, here with one accumulator a row. That of the drawn only the nearest
    counts is in the authors' code. The part on item features (section 3.3) is left out.

    A user whose history has not changed since training has the vector learned in training. To every
    other history one is fitted with the items held fixed.

    Attributes:
        user_vectors: float32 [user rows, factors].
        vectors: float32 [item rows, factors].
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "cml"
    paper: ClassVar[str] = "Hsieh et al. 2017, Collaborative Metric Learning (WWW)"
    learned: ClassVar[tuple[str, ...]] = ("user_vectors", "vectors")

    factors: int = hyperparameter(default=128, help="length of the vectors", ge=1, log=True)
    margin: float = hyperparameter(
        default=2.0, help="how much farther away others shall be, in squared distance", gt=0
    )
    negatives: int = hyperparameter(
        default=5, help="items drawn for a chosen one, of which the nearest counts", ge=1, log=True
    )
    regularization: float = hyperparameter(
        default=10.0, help="λ, the penalty on covariance between dimensions", ge=0, log=True
    )
    epochs: int = hyperparameter(
        default=15, help="passes over the events", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.1, help="Adagrad's first step size, falling to 0", gt=0, log=True
    )
    batch_size: int = hyperparameter(
        default=512, help="events in a step", ge=1, log=True, tuned=False
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            ball = _Ball(len(dataset.users), len(dataset.items), self.factors)
        trainer = _Trainer(ball.to(run.torch_device()), dataset.histories, self)
        self._fit_in_epochs(
            trainer,
            self.epochs,
            validation,
            run,
            install=self._set_vectors,
        )

    def item_tables(self, state: State) -> list[NDArray[np.float32]]:
        return [state["items.weight"]]

    def _set_vectors(self, state: State) -> None:
        self.user_vectors: NDArray[np.float32] = state["users.weight"]
        self.vectors: NDArray[np.float32] = state["items.weight"]

    # -- answers --------------------------------------------------------------------------------

    # -|u - v|² = -|u|² + (2u, -1)·(v, |v|²), and |u|² does not change the order.

    def item_vectors(self) -> NDArray[np.float32]:
        return np.column_stack([self.vectors, np.square(self.vectors).sum(axis=1)])

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        places = self.places(queries)
        return np.column_stack([2 * places, -np.ones(len(places), np.float32)])

    def places(self, queries: Queries) -> NDArray[np.float32]:
        """u, where in the ball each query is, float32 [B, factors]."""
        learned, n_items = self.user_vectors, len(self.vectors)
        return learned_or_folded(self.histories, queries, learned, n_items, self._fold_in)

    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """u of histories without unknown items, float32 [B, factors]."""
        items = torch.from_numpy(self.vectors)

        def losses(users: torch.Tensor, pairs: Pairs) -> torch.Tensor:
            own = users[pairs.rows]
            near = (own - items[pairs.positives]).square().sum(-1)
            far = (own[:, None] - items[pairs.negatives]).square().sum(-1)
            hinge = (self.margin + near[:, None] - far).clamp(min=0) * (pairs.negatives > 0)
            violators = (hinge.detach() > 0).float().mean(1)
            return torch.log1p(violators * len(items)) * hinge.max(1).values

        learned = torch.from_numpy(self.user_vectors[self.histories.counts > 0])
        found: NDArray[np.float32] = fold_in(
            histories,
            losses,
            start=learned.mean(0),
            scale=learned.std(0, unbiased=False),
            n_items=len(items),
            negatives=self.negatives,
            seed=self.seed,
            project=into_unit_ball,
        ).numpy()
        return found

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # The distance between items is what the model means by likeness; in the unit ball its
        # square is at most 4, so that this lies between 0 and 1.
        squares = np.square(self.vectors).sum(axis=1)
        distances = squares[items, None] + squares - 2 * self.vectors[items] @ self.vectors.T
        alike: NDArray[np.float32] = 1 - distances / 4
        return alike


def into_unit_ball(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [n, dim] with those longer than 1 cut to 1."""
    lengths: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp(min=1)


class _Ball(nn.Module):
    """The vectors of users and items in the unit ball; those of row 0 are at its centre."""

    def __init__(self, n_users: int, n_items: int, factors: int) -> None:
        super().__init__()

        def table(rows: int) -> nn.Embedding:
            weight = into_unit_ball(torch.randn(rows, factors) / factors**0.5)
            weight[0] = 0
            return nn.Embedding(rows, factors, sparse=True, _weight=weight)

        self.users, self.items = table(n_users), table(n_items)


class _Trainer(ModuleTrainer):
    network: _Ball

    def __init__(self, ball: _Ball, histories: Histories, model: CML) -> None:
        super().__init__(ball)
        self.model, self.device = model, ball.users.weight.device
        known = histories.items > 0
        users, items = histories.rows_of_events()[known], histories.items[known]
        self.users, self.items = (
            torch.from_numpy(rows.astype(np.int64)).to(self.device) for rows in (users, items)
        )
        self.sampler = UniformSampler(ball.items.num_embeddings, self.users, self.items)
        self.optimizer = RowwiseAdagrad(ball.parameters(), model.learning_rate)

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        random = generator_of(rng, self.device)
        lower_rate(self.optimizer, epoch, self.model.epochs)
        order = torch.randperm(len(self.items), generator=random, device=self.device)
        total = torch.zeros((), device=self.device)
        for batch in torch.split(order, self.model.batch_size):
            loss = self._step(self.users[batch], self.items[batch], random)
            total += loss * len(batch)
        return {"train_loss": total.item() / max(len(order), 1)}

    def _step(
        self, users: torch.Tensor, items: torch.Tensor, random: torch.Generator
    ) -> torch.Tensor:
        ball, model = self.network, self.model
        drawn, _, found = self.sampler.sample(users, items, model.negatives, random)
        nearest, weights = self._nearest(users, items, drawn, found)
        u, near, far = ball.users(users), ball.items(items), ball.items(nearest)
        loss = triplet(
            u, near, far[:, None], nearest[:, None] > 0, margin=model.margin, weights=weights
        )
        self.optimizer.zero_grad()
        penalty = covariance(torch.cat([u, near, far]))
        (loss + model.regularization * penalty).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            for table, rows in ((ball.users, users), (ball.items, torch.cat([items, nearest]))):
                touched = torch.unique(rows)
                table.weight[touched] = into_unit_ball(table.weight[touched])
        return loss.detach()

    @torch.no_grad()
    def _nearest(
        self, users: torch.Tensor, items: torch.Tensor, drawn: torch.Tensor, found: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest of the drawn, int64 [B], 0 where there is none, and w, float32 [B]."""
        U, V = self.network.users.weight, self.network.items.weight
        u, squares = U[users], V.square().sum(1)
        near = squares[items] - 2 * (u * V[items]).sum(1)
        far = squares[drawn] - 2 * torch.bmm(V[drawn], u[:, :, None])[..., 0]
        far = far.masked_fill(~found, torch.inf)
        violators = (far < near[:, None] + self.model.margin).sum(1) / found.sum(1).clamp(min=1)
        nearest = drawn.gather(1, far.argmin(1, keepdim=True))[:, 0]
        return nearest, torch.log1p(violators * len(V))


def covariance(vectors: torch.Tensor) -> torch.Tensor:
    """The sum of the squared covariances between different dimensions of vectors [n, dim]."""
    centred = vectors - vectors.mean(0)
    matrix = centred.T @ centred / max(len(vectors), 1)
    return matrix.square().sum() - matrix.diagonal().square().sum()
