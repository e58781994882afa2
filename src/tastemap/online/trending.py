"""What people take now: takes of items that fade with time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Trending"]

_CLOCK = 255
# Weights fade in steps of a hundredth of the half-life, since each is a pass over all items.
_STEP = 0.01
_LEAST = 0.01
_PAIRS = 500_000


class Trending:
    """The takes of each item by the log, halved after each half-life.

    A user's takes of one item count once, so that nobody lifts an item alone. Time is that of the
    events: the median of the last 255, so that single wrong clocks do not move it, and it finds
    back after half as many events where all clocks have jumped. What is newer than that counts as
    now. When it goes back nothing gains, and where nothing happens nothing fades.

    Args:
        n_items: item rows.
        half_life: seconds.
    """

    def __init__(self, n_items: int, half_life: float) -> None:
        self._half_life = half_life
        self._takes = np.zeros(n_items)
        self._times: deque[float] = deque(maxlen=_CLOCK)
        self._moment = -np.inf
        # Of two generations, so that memory has a bound and what was just there is still known.
        self._pairs: set[int] = set()
        self._older: set[int] = set()
        self.changed = False

    def add(
        self, users: Sequence[str], items: NDArray[np.int32], times: NDArray[np.float64]
    ) -> None:
        """Counts takes [m], as they came; those of item row 0 do not count."""
        new = np.array(
            [
                item > 0 and self._is_new(user, item)
                for user, item in zip(users, items.tolist(), strict=True)
            ],
            np.bool_,
        )
        if not new.any():
            return
        items, times = items[new], times[new]
        self._times.extend(times.tolist())
        self._go_to(float(np.median(self._times)))
        age = np.maximum(0.0, self._moment - times)
        np.add.at(self._takes, items, 0.5 ** (age / self._half_life))
        self.changed = True

    def _is_new(self, user: str, item: int) -> bool:
        pair = hash((user, item))
        if pair in self._pairs or pair in self._older:
            return False
        if len(self._pairs) >= _PAIRS:
            self._older, self._pairs = self._pairs, set()
        self._pairs.add(pair)
        return True

    def _go_to(self, moment: float) -> None:
        passed = moment - self._moment
        if passed >= _STEP * self._half_life:
            self._takes *= 0.5 ** (passed / self._half_life)
        elif passed >= 0:
            return
        self._moment = moment

    def takes(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Item rows that are taken now, int32 [n], and the takes of each, float64 [n]."""
        items = np.flatnonzero(self._takes >= _LEAST).astype(np.int32)
        return items, self._takes[items]
