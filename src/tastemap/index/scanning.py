"""The nearest by looking at every one, a tile of vectors at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import Ragged
from tastemap.kernels.topk import top_k

__all__ = ["nearest_by_scan", "nearest_of"]

# A tile of scores, 256 queries by 8192 vectors, stays in the cache.
_QUERIES = 256
_VECTORS = 8192

Products = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
VectorsAt = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def nearest_by_scan(
    queries: NDArray[np.float32],
    k: int,
    positions: NDArray[np.int64],
    vectors_at: VectorsAt,
    left_out: Ragged,
    products: Products | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k greatest inner products of each query with vectors; of equals the lower position.

    Args:
        queries: float32 [B, dim].
        k: how many.
        positions: int64 [n], rising: where to look.
        vectors_at: gives the vectors at a stretch of these.
        left_out: positions that do not come out, of each query [B].
        products: gives all inner products [B, n] of some queries and vectors; None in float32.

    Returns:
        positions int64 [B, k] and products float32 [B, k], padded with -1 and -inf.
    """
    best = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for first in range(0, len(queries), _QUERIES):
        some = slice(first, min(first + _QUERIES, len(queries)))
        excluded = left_out.slice(some.start, some.stop)
        for start in range(0, len(positions), _VECTORS):
            here = positions[start : start + _VECTORS]
            vectors = vectors_at(here)
            tile = (
                queries[some] @ vectors.T if products is None else products(queries[some], vectors)
            )
            _leave_out(tile, here, excluded)
            # `top_k` passes column 0 over. What is best so far stands before the tile, so that of
            # equals it stays.
            before = np.full((len(tile), 1), -np.inf, np.float32)
            columns, scores[some] = top_k(np.hstack([before, scores[some], tile]), k)
            known = np.hstack([best[some], np.broadcast_to(here, tile.shape)])
            chosen = np.take_along_axis(known, np.maximum(columns - 1, 0).astype(np.int64), axis=1)
            best[some] = np.where(columns > 0, chosen, -1)
    return best, scores


def nearest_of(
    queries: NDArray[np.float32],
    k: int,
    near: NDArray[np.int64],
    vectors_at: VectorsAt,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k of some positions [B, n] (-1: none) with the greatest inner products, as
    `nearest_by_scan` gives them."""
    near = np.sort(near, axis=1)
    products = np.full(near.shape, -np.inf, np.float32)
    for row, query in enumerate(queries):
        known = np.searchsorted(near[row], 0)
        products[row, known:] = vectors_at(near[row, known:]) @ query
    before = np.full((len(near), 1), -np.inf, np.float32)
    columns, scores = top_k(np.hstack([before, products]), k)
    chosen = np.take_along_axis(near, np.maximum(columns - 1, 0).astype(np.int64), axis=1)
    return np.where(columns > 0, chosen, -1), scores


def _leave_out(tile: NDArray[np.float32], positions: NDArray[np.int64], excluded: Ragged) -> None:
    places = np.searchsorted(positions, excluded.rows)
    inside = places < len(positions)
    inside[inside] = positions[places[inside]] == excluded.rows[inside]
    queries = np.repeat(np.arange(len(excluded)), excluded.counts)
    tile[queries[inside], places[inside]] = -np.inf
