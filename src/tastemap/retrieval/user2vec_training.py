"""The towers of `User2Vec`, and how they learn from triplets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from tastemap.losses import warp
from tastemap.training.module import ModuleTrainer, generator_of
from tastemap.training.schedule import lower_rate

if TYPE_CHECKING:
    from tastemap.retrieval.user2vec import User2Vec

__all__ = ["Towers", "TripletTrainer"]


class Towers(nn.Module):
    """The embeddings; see `User2Vec`. Those of ids that nothing is learned about are 0."""

    def __init__(
        self, active: NDArray[np.bool_], n_users: int, sizes: tuple[int, int], factors: int
    ):
        super().__init__()
        items = torch.randn(len(active), factors) / factors**0.5
        self.items = nn.Parameter(items * torch.from_numpy(active)[:, None])
        self.users = nn.Parameter(torch.zeros(n_users, factors))
        self.history = nn.Parameter(torch.eye(factors))
        self.item_attributes, self.user_attributes = (
            nn.Parameter(0.1 * torch.randn(size, factors) / factors**0.5) for size in sizes
        )


class TripletTrainer(ModuleTrainer):
    """Passes over the users.

    Args:
        towers: what is trained.
        chosen: 0/1 [user rows, item rows].
        told: what is told of items, [item rows, numbers], and of users, [user rows, numbers].
        model: the hyper-parameters.
    """

    network: Towers

    def __init__(
        self, towers: Towers, chosen: csr_array, told: tuple[csr_array, csr_array], model: User2Vec
    ) -> None:
        super().__init__(towers)
        self.chosen, self.told, self.model = chosen, told, model
        self.device = towers.items.device
        self.active_users = np.flatnonzero(np.diff(chosen.indptr))
        self.active_items = np.unique(chosen.indices)
        self.optimizer = torch.optim.AdamW(
            towers.parameters(),
            lr=model.learning_rate,
            weight_decay=model.regularization,
            fused=True,
        )

    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        random = generator_of(rng, self.device)
        lower_rate(self.optimizer, epoch, self.model.epochs)
        order, losses = rng.permutation(self.active_users), []
        for start in range(0, len(order), self.model.batch_size):
            users = order[start : start + self.model.batch_size]
            pool = rng.choice(self.active_items, self.model.negatives)
            loss = self._loss(users, pool, random)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return {"train_loss": float(np.mean(losses))}

    def _loss(
        self, users: NDArray[np.int64], pool: NDArray[np.int32], random: torch.Generator
    ) -> torch.Tensor:
        """The mean over all events of the users."""
        events = self.chosen[users]
        rows = self._tensor(np.repeat(np.arange(len(users)), np.diff(events.indptr)))
        needed, places = np.unique(np.concatenate([events.indices, pool]), return_inverse=True)
        local, m = self._tensor(places), len(events.indices)
        positives, drawn = local[:m], local[m:]

        embeddings = self._items(needed, random)
        vectors = functional.normalize(embeddings, dim=1)
        queries = self._queries(users, rows, embeddings[positives], random)
        forbidden = torch.from_numpy(events[:, pool].toarray() > 0).to(self.device)
        # Of unit vectors, |u - p|² - |u - n|² = 2 u·n - 2 u·p.
        near = 2 * (queries * vectors[positives]).sum(1)
        far = 2 * queries @ vectors[drawn].T
        return warp(
            near,
            far,
            ~forbidden[rows],
            n_items=len(self.active_items),
            margin=self.model.margin,
        )

    def _items(self, rows: NDArray[np.integer[Any]], random: torch.Generator) -> torch.Tensor:
        """x of item rows, float32 [n, factors]."""
        told = self.told[0][rows]
        ids = self.network.items[self._tensor(rows)]
        # Without attributes, nothing would be left where the id is dropped.
        droppable = torch.from_numpy(np.diff(told.indptr) > 0).to(self.device)
        ids = torch.where(droppable[:, None], self._drop(ids, random), ids)
        return ids + _embedded(told, self.network.item_attributes)

    def _queries(
        self,
        users: NDArray[np.int64],
        rows: torch.Tensor,
        embeddings: torch.Tensor,
        random: torch.Generator,
    ) -> torch.Tensor:
        """u for every event, with the other items of the user as its history, [m, factors].

        Args:
            users: [B], user rows.
            rows: int64 [m], the place among `users` that each event belongs to.
            embeddings: x of the events' items, [m, factors].
        """
        towers, model = self.network, self.model
        counts = torch.bincount(rows, minlength=len(users))[rows, None]
        sums = torch.zeros(len(users), model.factors, device=self.device)
        others = sums.index_add(0, rows, embeddings)[rows] - embeddings
        own = _embedded(self.told[1][users], towers.user_attributes)
        if model.user_ids:
            own = own + self._drop(towers.users[self._tensor(users)], random)
        means = others / (counts - 1).clamp(min=1)
        return functional.normalize(means @ towers.history + own[rows], dim=1)

    def _drop(self, ids: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Embeddings of ids [n, factors], some of them 0."""
        drawn = torch.rand(len(ids), 1, generator=random, device=self.device)
        return ids * (drawn >= self.model.id_dropout)

    def _tensor(self, rows: NDArray[np.integer[Any]]) -> torch.Tensor:
        return torch.from_numpy(rows.astype(np.int64)).to(self.device)


def _embedded(told: csr_array, embeddings: torch.Tensor) -> torch.Tensor:
    """The product of sparse rows [n, numbers] and embeddings [numbers, factors]."""
    device = embeddings.device
    product: torch.Tensor = functional.embedding_bag(
        torch.from_numpy(told.indices.astype(np.int64)).to(device),
        embeddings,
        torch.from_numpy(told.indptr.astype(np.int64)).to(device),
        mode="sum",
        per_sample_weights=torch.from_numpy(told.data).to(device),
        include_last_offset=True,
    )
    return product
