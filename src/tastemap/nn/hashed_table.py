"""A table with fewer vectors than ids: each id gets the sum of a few that hashes choose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tastemap.errors import ParameterError
from tastemap.nn.initializers import uniform_

__all__ = ["HashedTable", "mix"]


def _signed(constant: int) -> int:
    """A 64-bit constant as the int64 that torch computes with."""
    return constant - (1 << 64) if constant >= 1 << 63 else constant


_INCREMENT, _FIRST, _SECOND = (
    _signed(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def mix(ids: torch.Tensor, seed: int) -> torch.Tensor:
    """64 well mixed bits of each id: the finalizer of splitmix64 (Steele et al. 2014).

    Args:
        ids: int64 [...], any integers.
        seed: which of the hash functions.

    Returns:
        int64 [...].
    """
    z = ids + (seed + 1) * _INCREMENT % (1 << 63)
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    # torch shifts int64 with the sign; the bits that come in from the left have to be 0.
    return (z >> bits) & ((1 << (64 - bits)) - 1)


class HashedTable(nn.Module):
    """Vectors for any integer ids in bounded memory, also for ids that nobody has seen yet.

    The vector of an id is the sum of `hashes` rows of the table (Svenstrup et al. 2017 with equal
    weights), each with a sign that is hashed too where `signed` (Weinberger et al. 2009), so that
    what two ids share is as often opposed as alike and the expected dot product of two vectors is
    not changed by collisions. Two ids share all rows with probability about rows^-hashes.

    Args:
        rows: of the table.
        dim: length of the vectors.
        hashes: rows that make up one vector.
        signed: whether rows come with signs.
        sparse: whether the gradient holds only the rows that were looked up.
        initialize: writes the first values in place; `tastemap.nn.initializers`.
        seed: of the hash functions, a part of what the table means.

    Attributes:
        weight: float32 [rows, dim].

    Raises:
        ParameterError: rows, dim or hashes below 1.
    """

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        hashes: int = 2,
        signed: bool = True,
        sparse: bool = True,
        initialize: Callable[[torch.Tensor], object] = uniform_,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(rows, dim, hashes) < 1:
            raise ParameterError(
                f"HashedTable: rows, dim and hashes must be at least 1, got {rows}, {dim}, {hashes}"
            )
        self.hashes, self.signed, self.sparse, self.seed = hashes, signed, sparse, seed
        self.weight = nn.Parameter(torch.empty(rows, dim))
        initialize(self.weight)

    def places(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows int64 [..., hashes] and signs float32 [..., hashes] of ids int64 [...]."""
        seeds = range(self.seed * self.hashes, (self.seed + 1) * self.hashes)
        bits = torch.stack([mix(ids, seed) for seed in seeds], -1)
        # The upper bits choose the row, the lowest the sign, so that the two are independent.
        rows = _shifted(bits, 1) % len(self.weight)
        signs = 1.0 - 2.0 * (bits & 1).float() if self.signed else torch.ones_like(bits).float()
        return rows, signs

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors of ids: int64 [...] gives float32 [..., dim]."""
        rows, signs = self.places(ids)
        found = functional.embedding(rows, self.weight, sparse=self.sparse)
        return (found * signs[..., None]).sum(-2)
