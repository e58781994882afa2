"""A circuit breaker: what keeps failing is left alone for a while, then tried again.

M. Nygard, Release It! (2nd ed., 2018), chapter 5.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from tastemap.errors import ParameterError

__all__ = ["Breaker", "BreakerState"]

BreakerState = Literal["closed", "open", "half-open"]


class Breaker:
    """Says whether something that may fail is worth a call.

    Closed, it lets every call through. It opens after some failures in a row, or when too many of
    the last calls failed, and then lets none through for a pause. After the pause it is half-open:
    one call goes through as a probe, whose success closes it and whose failure opens it for another
    pause. A probe of which nothing is heard for a pause is given up, and another one goes out.

    Whoever got True from `allow` tells the outcome by `succeeded` or `failed`, once. What comes
    from calls that were let through before it opened changes nothing while it is open. Any number
    of threads may use it.

    Args:
        failures: so many in a row open it.
        share: and this share of failures among the last `window` calls, above 0 and up to 1.
        window: how many calls that is; with fewer behind it the share says nothing.
        pause: seconds.
        clock: monotonic, in seconds.

    Attributes:
        opened: how often it has opened.
        refused: how many calls it has not let through.

    Raises:
        ParameterError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        share: float = 0.5,
        window: int = 20,
        pause: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures < 1 or window < 1 or not 0 < share <= 1 or not pause > 0:
            raise ParameterError(
                "a breaker needs failures and window from 1, a share above 0 and up to 1, and a "
                f"pause above 0; got {failures}, {window}, {share} and {pause}"
            )
        self._failures, self._share, self._pause = failures, share, pause
        self._clock = clock
        self._lock = threading.Lock()
        self._state: BreakerState = "closed"
        self._recent: deque[bool] = deque(maxlen=window)
        self._in_a_row = 0
        self._until = 0.0
        self.opened = 0
        self.refused = 0

    @property
    def state(self) -> BreakerState:
        """Where it stands; open until a probe has gone out, be the pause over or not."""
        return self._state

    @property
    def resting(self) -> bool:
        """Whether it is open and its pause not over, so that no call goes through."""
        return self._state == "open" and self._clock() < self._until

    def allow(self) -> bool:
        """Whether to make the call now; True is followed by `succeeded` or `failed`."""
        with self._lock:
            if self._state == "closed":
                return True
            now = self._clock()
            if now < self._until:
                self.refused += 1
                return False
            self._state = "half-open"
            self._until = now + self._pause
            return True

    def succeeded(self) -> None:
        """A call that was let through went well."""
        with self._lock:
            if self._state == "half-open":
                self._state = "closed"
                self._recent.clear()
                self._in_a_row = 0
            if self._state == "closed":
                self._recent.append(True)
                self._in_a_row = 0

    def failed(self) -> None:
        """A call that was let through failed, or took too long."""
        with self._lock:
            if self._state == "closed":
                self._recent.append(False)
                self._in_a_row += 1
            if self._state == "half-open" or (self._state == "closed" and self._too_many()):
                self._state = "open"
                self._until = self._clock() + self._pause
                self.opened += 1

    def _too_many(self) -> bool:
        lost = self._recent.count(False)
        full = len(self._recent) == self._recent.maxlen
        return self._in_a_row >= self._failures or (
            full and lost >= self._share * len(self._recent)
        )
