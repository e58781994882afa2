"""Rows of ragged arrays put together anew."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["take_ragged"]


@nb.njit(cache=True, nogil=True)
def _copy(offsets: Any, values: Any, rows: Any, new_offsets: Any, found: Any) -> None:
    for place in range(len(rows)):
        first, to = offsets[rows[place]], new_offsets[place]
        for step in range(new_offsets[place + 1] - to):
            found[to + step] = values[first + step]


def take_ragged(
    offsets: NDArray[np.int64], values: NDArray[Any], rows: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The lists at places `rows` [k], which may repeat: their offsets int64 [k+1], and values."""
    new_offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.diff(offsets)[rows], out=new_offsets[1:])
    found = np.empty(new_offsets[-1], values.dtype)
    _copy(offsets, values, rows, new_offsets, found)
    return new_offsets, found
