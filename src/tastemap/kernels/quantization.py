"""Numbers as bytes, and products of bytes as numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

__all__ = ["Product", "multiplied", "quantized", "quantized_16", "rectified"]

_FAST = {"reassoc", "contract", "nsz"}


class Product(NamedTuple):
    """A matrix [n, columns], of which element i, j is sums[i, j] · of_rows[i] · of_columns[j].

    Attributes:
        sums: int32 or float32 [n, columns].
        of_rows: float32 [n].
        of_columns: float32 [columns].
    """

    sums: NDArray[np.int32] | NDArray[np.float32]
    of_rows: NDArray[np.float32]
    of_columns: NDArray[np.float32]


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _quantize(x: Any, bits: Any, limit: Any, found: Any, greatest: Any) -> None:
    scales = greatest.view(np.float32)
    for row in range(len(x)):
        # Positive numbers are ordered as their bits are, and only a maximum of integers is
        # vectorized.
        most = np.int32(0)
        for column in range(x.shape[1]):
            most = max(most, bits[row, column] & np.int32(0x7FFFFFFF))
        greatest[row] = most
        # One over what is less than that would be infinite; it counts as 0.
        inverse = limit / scales[row] if scales[row] > np.float32(1e-33) else np.float32(0)
        scales[row] /= limit
        for column in range(x.shape[1]):
            found[row, column] = np.int32(np.rint(x[row, column] * inverse))


def quantized(x: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each row in shares of its greatest number, of which there are 127 to each side of 0.

    Args:
        x: float32 [n, columns].

    Returns:
        int8 [n, columns], and float32 [n], by what each row is to be multiplied.
    """
    return _in_shares(x, np.empty(x.shape, np.int8), 127)


def quantized_16(x: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """As `quantized`, in shares of which there are 32,767: int16 [n, columns], and float32 [n]."""
    return _in_shares(x, np.empty(x.shape, np.int16), 32_767)


def _in_shares(
    x: NDArray[np.float32], found: NDArray[Any], shares: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    greatest = np.empty(len(x), np.int32)
    _quantize(x, x.view(np.int32), np.float32(shares), found, greatest)
    return found, greatest.view(np.float32)


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _multiply(product: Any, found: Any) -> None:
    sums, of_rows, of_columns = product
    for row in range(len(found)):
        scale = of_rows[row]
        for column in range(found.shape[1]):
            found[row, column] = np.float32(sums[row, column]) * scale * of_columns[column]


def multiplied(product: Product) -> NDArray[np.float32]:
    """The product, float32 [n, columns]."""
    found = np.empty(product.sums.shape, np.float32)
    _multiply(product, found)
    return found


@nb.njit(cache=True, nogil=True, fastmath=_FAST)
def _rectify(product: Any, bias: Any, found: Any) -> None:
    sums, of_rows, of_columns = product
    for row in range(len(found)):
        scale = of_rows[row]
        for column in range(found.shape[1]):
            value = np.float32(sums[row, column]) * scale * of_columns[column] + bias[column]
            found[row, column] = max(value, np.float32(0))


def rectified(product: Product, bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """relu(product + bias), float32 [n, columns], of a bias [columns]."""
    found = np.empty(product.sums.shape, np.float32)
    _rectify(product, bias, found)
    return found
