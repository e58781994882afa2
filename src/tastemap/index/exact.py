"""The true nearest, by looking at every vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import Ragged
from tastemap.hyperparameters import assigned_by_fit
from tastemap.index.base import Index
from tastemap.index.growing import Growing
from tastemap.index.scanning import nearest_by_scan, nearest_of
from tastemap.index.usable import Usable
from tastemap.storage import Stored

__all__ = ["ExactIndex"]

# bfloat16 keeps 8 bits, so rounding changes a number by at most 2^-8 of it, either factor of a
# product and the sum once more. Some room is left for the order of the sum.
_ROUNDING = 3.1 * 2.0**-8
# The first pass keeps so many times k, and this many more.
_KEPT, _KEPT_MORE = 3, 64


class ExactIndex(Index):
    """Every vector is looked at, a tile at a time.

    Where the processor multiplies bfloat16 matrices in units of their own, a first pass in bfloat16
    keeps some times k candidates, whose products are then made in float32. What bfloat16 rounds
    away has a bound, 3·2^-8·|q|·max|v|. A query whose k-th product does not stand above the
    last candidate by that much is asked again in float32, so that the answer is exact either way.
    """

    name = "exact"

    _held_vectors: Growing[np.float32] = assigned_by_fit()
    _first_pass: bool = assigned_by_fit()
    _longest: float = assigned_by_fit()

    def _create(self, vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> None:
        self._hold(vectors)

    def _hold(self, vectors: NDArray[np.float32]) -> None:
        from tastemap.training.precision import has_bfloat16_units

        self._held_vectors = Growing(vectors)
        self._first_pass = has_bfloat16_units("cpu")
        self._longest = _longest(vectors)

    def _append(self, vectors: NDArray[np.float32]) -> None:
        self._held_vectors.append(vectors)
        self._longest = max(self._longest, _longest(vectors))

    def _replaced(
        self, positions: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        there = positions >= 0
        self._held_vectors.put(positions[there], vectors[there])
        self._longest = max(self._longest, _longest(vectors[there]))
        return there

    def _effort(self, k: int) -> int:
        return self._held_positions()

    def _nearest(
        self,
        queries: NDArray[np.float32],
        k: int,
        usable: Usable | None,
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if usable is not None:
            return self._scan(queries, k, usable, left_out)
        return self._nearest_at(queries, k, np.arange(self._held_positions()), left_out)

    def _scan(
        self, queries: NDArray[np.float32], k: int, usable: Usable, left_out: Ragged
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return self._nearest_at(queries, k, usable.positions, left_out)

    def _nearest_at(
        self,
        queries: NDArray[np.float32],
        k: int,
        positions: NDArray[np.int64],
        left_out: Ragged,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        kept = _KEPT * k + _KEPT_MORE
        if not self._first_pass or len(positions) <= 4 * kept:
            return nearest_by_scan(queries, k, positions, self._vectors, left_out)
        near, rough = nearest_by_scan(
            queries, kept, positions, self._vectors, left_out, _in_bfloat16
        )
        found, scores = nearest_of(queries, k, near, self._vectors)
        slack = _ROUNDING * self._longest * np.linalg.norm(queries, axis=1)
        # Fewer than `kept` are all there are; else whatever was passed over is no better than this.
        unsure = np.flatnonzero((near[:, -1] >= 0) & (scores[:, -1] < rough[:, -1] + slack))
        if len(unsure):
            found[unsure], scores[unsure] = nearest_by_scan(
                queries[unsure], k, positions, self._vectors, left_out.take(unsure)
            )
        return found, scores

    def _vectors(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        held = self._held_vectors.array
        if len(positions) and positions[-1] - positions[0] + 1 == len(positions):
            return held[positions[0] : positions[-1] + 1]  # a stretch, without a copy
        return held[positions]

    def _held_positions(self) -> int:
        return len(self._held_vectors)

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        return {"": {"vectors": self._held_vectors.array}}

    def _restore(self, stored: Stored, group: str) -> None:
        self._hold(np.array(stored.mapped(group, "vectors")))


def _in_bfloat16(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        q, v = (torch.from_numpy(each).to(torch.bfloat16) for each in (queries, vectors))
        products: NDArray[np.float32] = (q @ v.T).float().numpy()
    return products


def _longest(vectors: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0)))
