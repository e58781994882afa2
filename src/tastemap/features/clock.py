"""The hour and the weekday of a moment, as rows of two vocabularies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOURS", "WEEKDAYS", "clock"]

HOURS, WEEKDAYS = 24 + 1, 7 + 1
"""Rows of the vocabularies, with row 0 for the unknown."""


def clock(seconds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hour (0 o'clock is row 1) and weekday (Monday is row 1) of moments, in UTC.

    Args:
        seconds: float64 [n], Unix seconds; 0 is the answer to what is not finite.
    """
    known = np.isfinite(seconds)
    hours = np.where(known, seconds // 3600, 0).astype(np.int64)
    # The first day of 1970 was a Thursday.
    rows = hours % 24 + 1, (hours // 24 + 3) % 7 + 1
    return np.where(known, rows[0], 0), np.where(known, rows[1], 0)
