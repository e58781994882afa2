"""A matrix at work, in bytes where the processor multiplies these faster."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.kernels.quantization import Product, quantized

__all__ = ["ServedMatrix", "has_byte_units"]


def has_byte_units() -> bool:
    """Whether the processor multiplies and adds bytes in one instruction (VNNI, AMX)."""
    # Neither is part of torch's public interface: where they go, we compute in float32.
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return hasattr(torch, "_int_mm") and supported is not None and bool(supported())


class ServedMatrix:
    """x Wᵀ for the W of a linear layer that has learned. In bytes it takes a quarter of the time of
    float32: each row of x and of W is rounded to shares of its greatest number, 127 to each side of
    0, and the sums of their products are exact (dynamic quantization; Jacob et al. 2018).

    Args:
        weight: float32 [columns, width], W.
        exact: in float32 after all.
    """

    def __init__(self, weight: NDArray[np.float32], *, exact: bool = False) -> None:
        self._in_bytes = has_byte_units() and not exact
        rows: NDArray[np.float32] | NDArray[np.int8] = weight
        self._of_columns = np.ones(len(weight), np.float32)
        if self._in_bytes:
            rows, self._of_columns = quantized(np.ascontiguousarray(weight))
        # A copy, since what torch multiplies with looks at the strides of a single row too.
        self._weight = torch.from_numpy(np.array(rows.T, order="C"))

    def __call__(self, x: NDArray[np.float32]) -> Product:
        """float32 [n, width] to [n, columns]."""
        if not self._in_bytes:
            sums = torch.mm(torch.from_numpy(x), self._weight).numpy()
            return Product(sums, np.ones(len(x), np.float32), self._of_columns)
        rows, scales = quantized(x)
        # Private, but what torch's own quantization of models is made of.
        found = torch._int_mm(torch.from_numpy(rows), self._weight)
        return Product(found.numpy(), scales, self._of_columns)
