"""What models have in common whose ratings are dot products of users and items."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.fold_in import learned_or_folded

__all__ = ["RatingVectors", "known_ratings", "rating_scale"]

# Pairs whose vectors are gathered at a time.
_PAIRS = 1 << 16


class RatingVectors(VectorRetriever):
    """A model that rates by μ + b_u + c_i + p_u · q_i, the product of two vectors:

        r̂_ui = (p_u, 1, μ + b_u) · (q_i, c_i, 1)

    A user whose history has not changed since training has the vector learned in training; to every
    other history the subclass fits one with the items held fixed. Lists are in order of r̂; a rating
    is r̂ within the scale of the training data.

    Attributes:
        user_vectors: float32 [user rows, factors + 2], (p_u, 1, μ + b_u).
        vectors: float32 [item rows, factors + 2], (q_i, c_i, 1).
        ratings: float32 [3], the mean, lowest and highest rating in the training data.
    """

    learned: ClassVar[tuple[str, ...]] = ("user_vectors", "vectors", "ratings")

    @abstractmethod
    def _fold_in(self, histories: Histories) -> NDArray[np.float32]:
        """(p_u, b_u) of histories [B] without unknown items, float32 [B, factors + 1]; of each
        history by itself, whatever the others are."""

    def _set_scale(self, histories: Histories) -> None:
        self.ratings: NDArray[np.float32] = rating_scale(histories)

    def _set_user_vectors(self, P: NDArray[np.float32], b: NDArray[np.float32]) -> None:
        self.user_vectors: NDArray[np.float32] = _user_vectors(P, self.ratings[0] + b)

    def _set_item_vectors(self, Q: NDArray[np.float32], c: NDArray[np.float32]) -> None:
        self.vectors: NDArray[np.float32] = np.column_stack([Q, c, np.ones_like(c)])

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """q_i, float32 [item rows, factors]."""
        return np.ascontiguousarray(self.vectors[:, :-2])

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """c_i, float32 [item rows]."""
        return np.ascontiguousarray(self.vectors[:, -2])

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        learned, n_items = self.user_vectors, len(self.vectors)
        return learned_or_folded(self.histories, queries, learned, n_items, self._folded)

    def _folded(self, histories: Histories) -> NDArray[np.float32]:
        """The vectors of histories without unknown items, in the layout of `user_vectors`."""
        folded = self._fold_in(histories)
        return _user_vectors(folded[:, :-1], self.ratings[0] + folded[:, -1])

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        users = self.encode_queries(queries)
        ratings = np.empty(len(items), np.float64)
        for start in range(0, len(items), _PAIRS):
            pair = slice(start, start + _PAIRS)
            ratings[pair] = (users[query_rows[pair]] * self.vectors[items[pair]]).sum(axis=1)
        return np.clip(ratings, self.ratings[1], self.ratings[2])

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of the factors alone: a bias says how good an item is, not what it is like.
        return cosines(self.item_factors, items)


def known_ratings(histories: Histories) -> Histories:
    """The events of known items."""
    return histories.select(histories.items > 0)


def rating_scale(histories: Histories) -> NDArray[np.float32]:
    """The mean, lowest and highest value, float32 [3]."""
    values = histories.values
    return np.array([values.mean(dtype=np.float64), values.min(), values.max()], np.float32)


def _user_vectors(P: NDArray[np.float32], bases: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.column_stack([P, np.ones_like(bases), bases])
