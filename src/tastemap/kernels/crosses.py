"""What stands between the matrix products of cross layers, in one pass over memory each.

Matrices that are multiplied are float32, or bfloat16, whose bits numba takes as uint16: they are
the upper half of those of a float32.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

__all__ = ["add_products", "add_relu", "crossed"]

_FAST = {"reassoc", "contract", "nsz"}


def _wide(x: Any) -> Any:
    """A number of a matrix as float32."""
    raise NotImplementedError


def _narrow(x: Any, like: Any) -> Any:
    """A float32 as the numbers of a matrix are, rounded to the nearest, of two to the even one."""
    raise NotImplementedError


@overload(_wide)
def _wide_of(x: Any) -> Any:
    def itself(x: Any) -> Any:
        return x

    def widened(x: Any) -> Any:
        return np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)

    return itself if isinstance(x, nb.types.Float) else widened


@overload(_narrow)
def _narrow_of(x: Any, like: Any) -> Any:
    def itself(x: Any, like: Any) -> Any:
        return x

    def rounded(x: Any, like: Any) -> Any:
        bits = np.float32(x).view(np.uint32)
        even = (bits >> np.uint32(16)) & np.uint32(1)
        return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + even) >> np.uint32(16))

    return itself if isinstance(like.dtype, nb.types.Float) else rounded


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _crossed(
    products: Any, request: Any, candidates: Any, before: Any, weights: Any, found: Any, sums: Any
) -> None:
    shared = len(request)
    for row in range(len(candidates)):
        total = np.float32(0)
        for place in range(shared):
            first = request[place]
            x = first if before is None else _wide(before[row, place])
            x += first * _wide(products[row, place])
            found[row, place] = _narrow(x, found)
            total += weights[place] * x
        for place in range(candidates.shape[1]):
            first, column = candidates[row, place], shared + place
            x = first if before is None else _wide(before[row, column])
            x += first * _wide(products[row, column])
            found[row, column] = _narrow(x, found)
            total += weights[column] * x
        sums[row] = total


def crossed(
    products: NDArray[Any],
    request: NDArray[np.float32],
    candidates: NDArray[np.float32],
    before: NDArray[Any] | None,
    weights: NDArray[np.float32],
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """x_{l+1} = x_0 ∘ y + x_l of the candidates of a request, and its products with some weights.

    Args:
        products: y, [n, s + c] or more columns.
        request, candidates: float32 [s] and [n, c], the parts of x_0.
        before: x_l, [n, s + c]; None for x_0.
        weights: float32 [s + c].

    Returns:
        x_{l+1}, of the dtype of `products`, and float32 [n].
    """
    found = np.empty((len(candidates), len(weights)), products.dtype)
    sums = np.empty(len(candidates), np.float32)
    _crossed(products, request, candidates, before, weights, found, sums)
    return found, sums


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _add_products(products: Any, candidates: Any, weights: Any, sums: Any) -> None:
    for row in range(len(candidates)):
        total = np.float32(0)
        for place in range(candidates.shape[1]):
            total += _wide(products[row, place]) * candidates[row, place] * weights[place]
        sums[row] += total


def add_products(
    products: NDArray[Any],
    candidates: NDArray[np.float32],
    weights: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Adds Σ_j y_j c_j w_j to sums [n], for y and c [n, columns] and w [columns]."""
    _add_products(products, candidates, weights, sums)


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _add_relu(hidden: Any, weights: Any, sums: Any) -> None:
    for row in range(len(hidden)):
        total = np.float32(0)
        for place in range(hidden.shape[1]):
            total += max(_wide(hidden[row, place]), np.float32(0)) * weights[place]
        sums[row] += total


def add_relu(hidden: NDArray[Any], weights: NDArray[np.float32], sums: NDArray[np.float32]) -> None:
    """Adds Σ_j max(h_j, 0) w_j to sums [n], for h [n, columns] and w [columns]."""
    _add_relu(hidden, weights, sums)
