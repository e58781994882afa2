"""Dropout whose random numbers are cheap on a CPU."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tastemap.compiled import parallel_njit
from tastemap.kernels.splitmix import mixed

__all__ = ["Dropout", "ReLUDropout"]

_BITS = 16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Numbers whose bits stand in the nearest cache while they are needed.
_BLOCK = 4096


class Dropout(nn.Module):
    """Sets a share of the numbers to 0 in training, and scales the others up for it (Srivastava et
    al. 2014).

    On a CPU torch draws one number after the other, which took an eighth of the time of a
    transformer's step. Here it draws a single one, with which splitmix64 begins (Steele et al.
    2014): 64 bits for four numbers, computed where they are needed, and once more for the gradient,
    in the pass that drops and scales. So the share there is rounded to a multiple of 2^-16.

    Args:
        rate: the share, from 0 to below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [...] of x [...]."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.rate)
        if not _is_plain(x):
            return x * _dropped(torch.ones(x.shape), _seed(), self.rate).to(x.dtype)
        dropped: torch.Tensor = _Dropped.apply(x, _seed(), self.rate)  # type: ignore[no-untyped-call]
        return dropped


class ReLUDropout(Dropout):
    """max(x, 0) and then dropout, in place of x; on a CPU in one pass over it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float [...] of x [...], which is overwritten."""
        if not (self.training and self.rate > 0 and _is_plain(x) and x.is_contiguous()):
            return super().forward(x.relu_())
        bent: torch.Tensor = _DroppedReLU.apply(x, _seed(), self.rate)  # type: ignore[no-untyped-call]
        return bent


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        ctx.seed, ctx.rate = seed, rate
        return _dropped(x, seed, rate)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _dropped(gradient, ctx.seed, ctx.rate), None, None


class _DroppedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        _drop(x, seed, rate, 0, x)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.rate = rate
        return x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (bent,) = ctx.saved_tensors
        made = torch.empty(bent.shape)
        _scale_where_above_0(_flat(gradient), _flat(bent), _scale(ctx.rate), _flat(made))
        return made, None, None


def _is_plain(x: torch.Tensor) -> bool:
    """Whether the loops below know such numbers."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def _seed() -> int:
    """Of torch's own stream."""
    return int(torch.empty((), dtype=torch.long).random_().item())


def _scale(rate: float) -> np.float32:
    return np.float32(1 / (1 - rate))


def _flat(x: torch.Tensor) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = x.detach().contiguous().view(-1).numpy()
    return flat


def _dropped(x: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
    made = torch.empty(x.shape)
    _drop(x, seed, rate, -np.inf, made)
    return made


def _drop(x: torch.Tensor, seed: int, rate: float, floor: float, made: torch.Tensor) -> None:
    """Writes max(x, floor), scaled or dropped, to `made`, which may be x."""
    # The highest number that 16 bits hold stays whatever the rate.
    lowest = np.uint16(min(round(rate * (1 << _BITS)), (1 << _BITS) - 1))
    _drop_some(_flat(x), np.uint64(seed), lowest, _scale(rate), np.float32(floor), _flat(made))


@parallel_njit()
def _drop_some(
    x: NDArray[np.float32],
    seed: np.uint64,
    lowest: np.uint16,
    scale: np.float32,
    floor: np.float32,
    made: NDArray[np.float32],
) -> None:
    for block in nb.prange(-(-len(x) // _BLOCK)):
        start = block * _BLOCK
        words = np.empty(_BLOCK // 4, np.uint64)
        for j in range(len(words)):
            words[j] = mixed(seed + np.uint64(start + j) * _GOLDEN)
        bits = words.view(np.uint16)
        given, out = x[start : start + _BLOCK], made[start : start + _BLOCK]
        for i in range(len(given)):
            # What is not a number stays so.
            raised = floor if given[i] < floor else given[i]
            out[i] = raised * scale if bits[i] >= lowest else np.float32(0)


@parallel_njit()
def _scale_where_above_0(
    gradient: NDArray[np.float32],
    bent: NDArray[np.float32],
    scale: np.float32,
    made: NDArray[np.float32],
) -> None:
    for i in nb.prange(len(bent)):
        made[i] = gradient[i] * scale if bent[i] > 0 else np.float32(0)
