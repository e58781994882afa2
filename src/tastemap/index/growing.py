"""Arrays that rows are appended to."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Growing"]

T = TypeVar("T", bound=np.generic)


class Growing(Generic[T]):
    """An array whose first axis grows; an append copies the whole only now and then.

    Args:
        array: what it begins with; not copied.
    """

    def __init__(self, array: NDArray[T]) -> None:
        self._room = array
        self._used = len(array)
        self._own = False

    def __len__(self) -> int:
        return self._used

    @property
    def array(self) -> NDArray[T]:
        """What it holds, as a view."""
        return self._room[: self._used]

    def append(self, rows: NDArray[Any]) -> None:
        """Puts rows behind the last."""
        needed = self._used + len(rows)
        if needed > len(self._room) or not self._room.flags.writeable:
            room = np.empty((needed + needed // 8, *self._room.shape[1:]), self._room.dtype)
            room[: self._used] = self.array
            self._room, self._own = room, True
        self._room[self._used : needed] = rows
        self._used = needed

    def put(self, places: NDArray[np.int64], rows: NDArray[Any]) -> None:
        """Puts rows in place of some, each once; what it began with stays as it was."""
        if not self._own:
            self._room, self._own = self.array.copy(), True
        self._room[places] = rows
