"""Vectors with one more number, which makes the greatest inner product the nearest neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.hyperparameters import assigned_by_fit
from tastemap.index.library import FaissIndex
from tastemap.storage import Stored

__all__ = ["LiftedIndex"]


class LiftedIndex(FaissIndex):
    """An index over (x, √(R² - |x|²)), which is asked with (q, 0): Bachrach et al. 2014, section
    3.1. All vectors of at most the length R then have that length, and their distance from q falls
    as q·x rises."""

    _radius: float = assigned_by_fit()

    def _last(self, squares: NDArray[np.float32]) -> NDArray[np.float32]:
        """The last number of vectors with these squares of their lengths."""
        last: NDArray[np.float32] = np.sqrt(np.maximum(self._radius**2 - squares, 0))
        return last.astype(np.float32, copy=False)

    def _lift(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors [n, dim] with their last numbers, [n, dim + 1]."""
        return np.column_stack([vectors, self._last(np.einsum("nd,nd->n", vectors, vectors))])

    @staticmethod
    def _lift_queries(queries: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.column_stack([queries, np.zeros(len(queries), np.float32)])

    def _tensors(self) -> dict[str, dict[str, NDArray[Any]]]:
        groups = super()._tensors()
        groups[""]["radius"] = np.array([self._radius])
        return groups

    def _restore(self, stored: Stored, group: str) -> None:
        super()._restore(stored, group)
        self._radius = float(stored.mapped(group, "radius")[0])
