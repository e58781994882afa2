"""Masks of items that stay as they are, so that what is made of one is made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Remembered", "constant", "read_only"]

T = TypeVar("T")


def constant(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same array, which nobody can write to from now on. Whoever has another mask to say makes
    another array."""
    mask.setflags(write=False)
    return mask


def read_only(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A view that cannot be written to: compiled code is made for each kind of array apart, and
    so is made once for masks that are constant and those that are not."""
    return constant(mask.view())


class Remembered(Generic[T]):
    """What was made of masks, the last so many; any thread may ask.

    A mask is known again as an array, not by what it says, which takes longer to look at than a
    search does. So nothing is remembered of one that may change: that can be written to, or is a
    view of another array.

    Args:
        most: how many, 1 or more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changing = threading.Lock()
        # With its mask, since the number of an array is another's once nobody has it.
        self._made: OrderedDict[Hashable, tuple[NDArray[np.bool_] | None, T]] = OrderedDict()

    def of(self, mask: NDArray[np.bool_] | None, make: Callable[[], T], *others: Hashable) -> T:
        """What `make` gives for a mask, or for None, and whatever else it depends on."""
        if mask is not None and (mask.flags.writeable or mask.base is not None):
            return make()
        key = (id(mask), *others)
        with self._changing:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key][1]
        made = make()
        with self._changing:
            self._made[key] = mask, made
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return made
