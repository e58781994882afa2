"""Features of requests and of their candidates, apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import FeatureBatch
from tastemap.features.block import Block
from tastemap.features.schema import Schema

__all__ = ["RequestFeatures"]


@dataclass(frozen=True, eq=False)
class RequestFeatures:
    """What all candidates of a request share stands once, so that it is worked on once.

    Attributes:
        schema: of both together; of each kind those of requests stand first.
        requests: [B].
        candidates: [m].
        offsets: int64 [B+1]; request i has the candidates offsets[i]:offsets[i+1].
    """

    schema: Schema
    requests: Block
    candidates: Block
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slices(self) -> Iterator[slice]:
        """Where the candidates of each request stand."""
        stops = self.offsets.tolist()
        return (slice(*pair) for pair in pairwise(stops))

    def joined(self) -> FeatureBatch:
        """A row for each candidate, with the features of its request too, [m]."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return Block.beside([self.requests.take(rows), self.candidates]).batch(self.schema)
