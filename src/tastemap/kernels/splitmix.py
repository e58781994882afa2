"""Well mixed bits of a number."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

__all__ = ["mixed"]


@nb.njit(cache=True, nogil=True, inline="always")
def mixed(z: Any) -> Any:
    """A uint64 of which every bit hangs on every bit of z: the finalizer of splitmix64 (Steele et
    al. 2014, Fast splittable pseudorandom number generators)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
