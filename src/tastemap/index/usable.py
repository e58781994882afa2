"""The positions of an index that may come out of a search."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Usable"]


class Usable:
    """Positions that may come out, with what a search needs of them, made when first needed.

    Args:
        mask: bool by position, [n]; to be read only.

    Attributes:
        count: how many may.
        vectors: float32 [count, dim], those that stand there, where a search has kept them.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self.vectors: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """How many positions there are."""
        return len(self.mask)

    @property
    def share(self) -> float:
        """Of all positions, those that may come out."""
        return self.count / max(len(self.mask), 1)

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """The mask with a bit for a position, the first the lowest of its byte; to be read only."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Where the mask is True, rising."""
        return np.flatnonzero(self.mask)
