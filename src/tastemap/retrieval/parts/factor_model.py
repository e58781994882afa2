"""What models have in common that order items by a dot product and a bias of the item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.hyperparameters import assigned_by_fit
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.fold_in import learned_or_folded
from tastemap.training.loop import State

__all__ = ["BiasedVectors", "FactorModel", "FactorTrainer"]


class BiasedVectors(VectorRetriever):
    """Scores p · q_i + c_i; what orders nothing, such as a bias of the user, is left out.

    Attributes:
        item_factors: float32 [item rows, factors], q.
        item_biases: float32 [item rows], c.
    """

    item_factors: NDArray[np.float32] = assigned_by_fit()
    item_biases: NDArray[np.float32] = assigned_by_fit()

    @abstractmethod
    def _users(self, queries: Queries) -> NDArray[np.float32]:
        """p of queries [B], float32 [B, factors]."""

    def _items(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """q and c of all items, without copying them where that can be."""
        return self.item_factors, self.item_biases

    def item_vectors(self) -> NDArray[np.float32]:
        """(q_i, c_i), float32 [item rows, factors + 1]."""
        return np.column_stack(self._items())

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """(p, 1), float32 [B, factors + 1]."""
        return np.column_stack([self._users(queries), np.ones(len(queries), np.float32)])

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        # Without `item_vectors`, which would copy a big table for every tile of queries.
        Q, c = self._items()
        if items is not None:
            Q, c = Q[items], c[items]
        scores: NDArray[np.float32] = self._users(queries) @ Q.T
        scores += c
        return scores

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of the factors alone: a bias says how good an item is, not what it is like.
        return cosines(self._items()[0], items)


class FactorModel(BiasedVectors):
    """A vector for each user and each item.

    A user whose history has not changed since training has the vector learned in training; to every
    other history the subclass fits one with the items held fixed.

    Attributes:
        user_factors: float32 [user rows, factors].
        item_factors: float32 [item rows, factors].
        item_biases: float32 [item rows].
    """

    learned: ClassVar[tuple[str, ...]] = ("user_factors", "item_factors", "item_biases")

    @abstractmethod
    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """p_u of histories [B] without unknown items, float32 [B, factors]; of each history by
        itself, whatever the others are."""

    def _set_factors(self, state: State) -> None:
        self.user_factors: NDArray[np.float32] = state["P"]
        self.item_factors = state["Q"]
        self.item_biases = state["c"]

    def _users(self, queries: Queries) -> NDArray[np.float32]:
        learned, n_items = self.user_factors, len(self.item_factors)
        return learned_or_folded(self.histories, queries, learned, n_items, self._fold_in)


class FactorTrainer(ABC):
    """What trains a `FactorModel`, as something that `train` drives."""

    @abstractmethod
    def factors(self) -> State:
        """P, Q and c; the arrays that are trained themselves where they are on the CPU."""

    @abstractmethod
    def train_epoch(self, epoch: int, rng: np.random.Generator) -> Mapping[str, float]:
        """One pass over the training data; see `Trainable`."""

    def state(self) -> State:
        return {name: array.copy() for name, array in self.factors().items()}

    @abstractmethod
    def restore(self, state: State) -> None:
        """Goes back to what `state` gave."""
