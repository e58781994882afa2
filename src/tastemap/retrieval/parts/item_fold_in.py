"""The vector of an item from those who took it since the training: one ridge regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.data.queries import Queries
from tastemap.retrieval.als import ALS

__all__ = ["ItemFoldIn", "bounded", "encoded"]

_USERS = 8192
# So many queries are encoded before others have their turn at the processor.
_TILE = 64


class ItemFoldIn:
    """The closed form of an item's vector in a fitted `ALS`, given who took it later.

    The last half-step of the training solved for each item (`kernels.als`; Hu, Koren & Volinsky
    2008)

        A y = b,  A = G + sum_{u took i} c_u x_u x_u' + ridge(n) I,  b = sum_{u took i} c_u x_u

    with G = α₀ X'X and n who took it. Each who takes it later adds to both sums. With y₀, the
    vector that was learned, for what the earlier ones said, b = A y₀, m later ones lead to

        y = y₀ + A⁻¹ (sum_later c_u (1 - x_u·y₀) x_u - (ridge(n + m) - ridge(n)) y₀)

    where A is now that of all. So without later ones nothing changes, and an item is the harder to
    move the more had taken it.

    The sums over the users of the training are taken over at most 8,192 of them, drawn evenly,
    each of whom counts for as many as there are to one.

    Args:
        model: fitted.
        users: so many are drawn at most.
        seed: of the draw.
    """

    def __init__(self, model: ALS, *, users: int = _USERS, seed: int = 0) -> None:
        self.model = model
        there = np.flatnonzero(model.histories.counts).astype(np.int32)
        drawn = np.random.default_rng(seed).permutation(there)[:users]
        queries = model.data.queries(np.sort(drawn))
        self._users = float(len(there))
        self._weight = len(there) / max(len(drawn), 1)
        self._x = encoded(model, queries)
        self._takers = csr_array(model.observed(queries.histories).T)
        self._gram = model.unobserved_weight * self._weight * _outer(self._x)

    def vector(
        self,
        item: int,
        before: NDArray[np.float32],
        takers: NDArray[np.float32],
        confidences: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The vector of an item.

        Args:
            item: its row; 0 for one that nobody of the training had taken.
            before: y₀, float32 [d]; zeros where nothing is known of it.
            takers: the vectors x of those who took it later, float32 [m, d].
            confidences: c of each, float32 [m].

        Returns:
            float32 [d].
        """
        first, last = self._takers.indptr[item : item + 2] if item else (0, 0)
        earlier = self._x[self._takers.indices[first:last]]
        n = self._weight * float(last - first)
        y = before.astype(np.float64)
        x, c = takers.astype(np.float64), confidences.astype(np.float64)
        was, is_ = self.model.ridge(np.array([n, n + len(x)]), self._users).astype(np.float64)
        a = self._gram + is_ * np.eye(len(y))
        a += self._weight * _outer(earlier, self._takers.data[first:last])
        a += _outer(x, c)
        push = (c * (1.0 - x @ y)) @ x - (is_ - was) * y
        moved: NDArray[np.float32] = (y + np.linalg.solve(a, push)).astype(np.float32)
        return moved


def bounded(
    after: NDArray[np.float32], before: NDArray[np.float32], most: float
) -> NDArray[np.float32]:
    """What of the way from one vector to another, float32 [d], is no longer than `most`."""
    change = after.astype(np.float64) - before
    length = float(np.linalg.norm(change))
    if length <= most:
        return after
    return (before + change * (most / length)).astype(np.float32)


def encoded(model: ALS, queries: Queries) -> NDArray[np.float32]:
    """The vectors of queries, float32 [B, d], some at a time, so that others wait for none long."""
    vectors = np.zeros((len(queries), model.item_vectors().shape[1]), np.float32)
    for start, tile in queries.tiles(_TILE):
        vectors[start : start + len(tile)] = model.encode_queries(tile)
    return vectors


def _outer(
    x: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """sum w x x' of rows [n, d], float64 [d, d]."""
    rows = x.astype(np.float64)
    weighted = rows if weights is None else rows * weights[:, None]
    product: NDArray[np.float64] = weighted.T @ rows
    return product
