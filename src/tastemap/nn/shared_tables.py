"""Vectors for the values of several features in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import nn

from tastemap.errors import ParameterError
from tastemap.nn.embedding_table import EmbeddingTable
from tastemap.nn.hashed_table import mix
from tastemap.nn.initializers import uniform_

__all__ = ["HashedTables", "MultiplexedTable", "SharedTable"]


class SharedTable(nn.Module, ABC):
    """A vector for each value, made of rows of a smaller table that hashes choose.

    Values of all features are numbered in one row, feature after feature, from 1 on; 0 is the
    unknown, whose vector is 0 and stays so.

    Args:
        table: of the rows.

    Attributes:
        table: row 0 of it is that of the unknown alone.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        super().__init__()
        self.table = table

    @abstractmethod
    def places(self, values: torch.Tensor) -> torch.Tensor:
        """The rows of the table, int64 [..., k], of values int64 [...] above 0."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Vectors of values: int64 [...] gives float32 [..., dim]."""
        rows = torch.where(values[..., None] > 0, self.places(values), 0)
        vectors: torch.Tensor = self.table(rows)
        return vectors.flatten(-2)

    def bags(
        self, offsets: torch.Tensor, values: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """As `EmbeddingTable.bags`."""
        parts = self.places(values).unbind(-1)
        return torch.cat([self.table.bags(offsets, part, weights) for part in parts], -1)


class HashedTables(SharedTable):
    """The hashing trick (Weinberger et al. 2009), feature by feature: one that has more values than
    rows hashes them into its own rows; the others have a row for each value.

    Args:
        sizes: how many values each feature has, without the unknown.
        rows: of all features together; the largest ones share what the small ones leave equally.
        dim: length of the vectors.
        sparse, initialize: as of `EmbeddingTable`.

    Raises:
        ParameterError: fewer rows than features.
    """

    # By feature: its first value, its first row, how many rows, whether each value has its own.
    first: torch.Tensor
    begins: torch.Tensor
    held: torch.Tensor
    whole: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        rows: int,
        dim: int,
        *,
        sparse: bool = True,
        initialize: Callable[[torch.Tensor], object] = uniform_,
    ) -> None:
        held = _shared_out(sizes, rows)
        super().__init__(EmbeddingTable(sum(held) + 1, dim, sparse=sparse, initialize=initialize))
        columns = {
            "first": [*accumulate(sizes, initial=1)][:-1],
            "begins": [*accumulate(held, initial=1)][:-1],
            "held": held,
            "whole": [mine == size for mine, size in zip(held, sizes, strict=True)],
        }
        for name, numbers in columns.items():
            self.register_buffer(name, torch.tensor(numbers), persistent=False)

    def places(self, values: torch.Tensor) -> torch.Tensor:
        of = torch.bucketize(values, self.first, right=True) - 1
        own = values - self.first[of]
        hashed = mix(values, 0) % self.held[of]
        return (self.begins[of] + torch.where(self.whole[of], own, hashed))[..., None]


class MultiplexedTable(SharedTable):
    """Unified embeddings (Coleman et al. 2023, "Unified embedding: battle-tested feature
    representations for web-scale ML systems"): all features share one table, into which each
    hashes its values by functions of its own; the vector of a value is `lookups` rows, one after
    the other.

    What two values of a feature share is as a rule not what others share with them, and the layers
    above tell features apart by where a vector stands.

    Args:
        rows: of length `dim`; the table has `lookups` times as many that are so much shorter.
        dim: length of the vectors.
        lookups: rows of each vector.
        sparse, initialize: as of `EmbeddingTable`.

    Raises:
        ParameterError: dim is no multiple of lookups.
    """

    def __init__(
        self,
        rows: int,
        dim: int,
        lookups: int,
        *,
        sparse: bool = True,
        initialize: Callable[[torch.Tensor], object] = uniform_,
    ) -> None:
        if dim % lookups:
            raise ParameterError(
                f"MultiplexedTable: dim must be a multiple of lookups, got {dim} and {lookups}"
            )
        shape = rows * lookups + 1, dim // lookups
        super().__init__(EmbeddingTable(*shape, sparse=sparse, initialize=initialize))
        self.lookups = lookups

    def places(self, values: torch.Tensor) -> torch.Tensor:
        # The numbers of values tell features apart, so that one function is another for each.
        hashed = torch.stack([mix(values, seed) for seed in range(self.lookups)], -1)
        return hashed % (len(self.table.weight) - 1) + 1


def _shared_out(sizes: Sequence[int], rows: int) -> list[int]:
    """How many rows each feature gets: at most as many as it has values, and else all alike."""
    if rows < len(sizes):
        raise ParameterError(
            f"HashedTables: {len(sizes)} features need as many rows at least, got {rows}"
        )
    held, left = [0] * len(sizes), rows
    by_size = np.argsort(sizes, kind="stable").tolist()
    for done, feature in enumerate(by_size):
        held[feature] = min(sizes[feature], left // (len(sizes) - done))
        left -= held[feature]
    return held
