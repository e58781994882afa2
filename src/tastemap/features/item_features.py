"""Features of items that are worked out when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tastemap.features.block import Block

__all__ = ["ItemFeatures"]


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """The features of items at moments, for those alone that are looked at: what a ranker made of
    an item that many are proposed it may remember, as long as nothing has changed.

    Attributes:
        items: int32 [n], item rows.
        size: item rows that there are, with the unknown.
        current: bool [n], whose features are those of now, and so the same for all who ask now.
            Each item is current once at most.
        state: what the features of current items go by beside the item; they are the same as long
            as these are the same objects.
        make: gives the features of those at some places, int64 [k], k rows.
    """

    items: NDArray[np.int32]
    size: int
    current: NDArray[np.bool_]
    state: tuple[object, ...]
    make: Callable[[NDArray[np.int64]], Block]

    @classmethod
    def of(cls, block: Block) -> Self:
        """Features that are known already, of items that nobody asks for again."""
        n = len(block.categorical)
        return cls(np.zeros(n, np.int32), 1, np.zeros(n, np.bool_), (), block.take)

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def block(self) -> Block:
        """The features of all of them, [n]."""
        return self.make(np.arange(len(self)))

    def changed(self, change: Callable[[Block], Block], by: object) -> Self:
        """With what a function makes of the features, the same as long as `by` is."""
        make = self.make
        return replace(self, state=(*self.state, by), make=lambda places: change(make(places)))
