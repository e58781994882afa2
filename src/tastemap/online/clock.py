"""The time of day, by a clock that is not set back."""

from __future__ import annotations

import time

__all__ = ["now"]

_BEGIN = time.time() - time.monotonic()


def now() -> float:
    """Unix seconds. Where the machine's clock has been set back since the process began, time goes
    on as if it had not, so that what a user does next is later than what they did before, and
    the times of senders whose clocks are right do not look like the future."""
    return max(time.time(), _BEGIN + time.monotonic())
