"""Rows of ragged arrays put together anew."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["in_order", "take_ragged", "take_turns"]


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


def in_order(
    offsets: NDArray[np.int64], keys: NDArray[Any], ids: NDArray[Any]
) -> NDArray[np.int64]:
    """Positions of the values of each list, the lowest key first, of equal ones the lowest id.

    Args:
        offsets: int64 [k+1], of the lists.
        keys, ids: [m].

    Returns:
        int64 [m].
    """
    found = np.empty(len(keys), np.int64)
    # A list after the other, since NumPy sorts six times as fast as Numba.
    for start, stop in pairwise(offsets.tolist()):
        np.add(np.lexsort((ids[start:stop], keys[start:stop])), start, out=found[start:stop])
    return found


@nb.njit(cache=True, nogil=True)
def _take_turns(offsets: Any, first: Any, others: Any, share: float, found: Any) -> None:
    taken = np.zeros(len(first), np.bool_)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        next_first, next_other = start, start
        for place in range(start, stop):
            # Rounding must not move a place: 0.2 times 5 is 1.
            before = np.floor((place - start) * share + 1e-9)
            if np.floor((place - start + 1) * share + 1e-9) > before:
                while taken[others[next_other]]:
                    next_other += 1
                chosen = others[next_other]
            else:
                while taken[first[next_first]]:
                    next_first += 1
                chosen = first[next_first]
            taken[chosen] = True
            found[place] = chosen


def take_turns(
    offsets: NDArray[np.int64], first: NDArray[np.int64], others: NDArray[np.int64], share: float
) -> NDArray[np.int64]:
    """Two orders of the same lists made into one, in which a share of the places, spread evenly
    from the beginning on, goes to the next of `others` that is not there yet.

    Args:
        offsets: int64 [k+1], of the lists.
        first, others: int64 [m], the positions of each list's values in either order.
        share: from 0 to 1.

    Returns:
        int64 [m].
    """
    found = np.empty_like(first)
    _take_turns(offsets, first, others, share, found)
    return found
