"""Which rows were candidates of one request, so that their order can be learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import DataError

__all__ = ["Requests"]


@dataclass(frozen=True, eq=False)
class Requests:
    """The rows of each request, clicks first.

    Left out are requests with rows of one label only, which say nothing about an order.

    Attributes:
        rows: int64 [m], places of rows; those of request g are the slice offsets[g]:offsets[g+1].
        offsets: int64 [G + 1].
        clicks: int64 [G], how many of them are clicks; at least one is, and one is not.
    """

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    clicks: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.float32], groups: NDArray[Any]) -> Self:
        """The requests of n rows.

        Args:
            labels: [n], 1 for a click and 0 for none.
            groups: [n], equal for rows of one request, of any type that can be sorted.

        Raises:
            DataError: no request has both a click and a row without one.
        """
        of = np.unique(groups, return_inverse=True)[1]
        sizes = np.bincount(of)
        clicks = np.bincount(of, labels).astype(np.int64)
        both = (clicks > 0) & (clicks < sizes)
        if not both.any():
            raise DataError(
                "no request has both a click and a row without one, so there is no order to learn",
                remedy="Name the column that tells requests apart, or take objective='pointwise'",
            )
        order = np.lexsort((-labels, of))
        offsets = np.concatenate([[0], np.cumsum(sizes[both], dtype=np.int64)])
        return cls(order[both[of[order]]], offsets, clicks[both])

    def __len__(self) -> int:
        return len(self.clicks)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The rows of each request, int64 [G]."""
        return self.offsets[1:] - self.offsets[:-1]
