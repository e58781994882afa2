"""Features of requests, of items and of the two together, apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import FeatureBatch
from tastemap.features.block import Block
from tastemap.features.item_features import ItemFeatures
from tastemap.features.schema import Schema

__all__ = ["RequestFeatures"]


@dataclass(frozen=True, eq=False)
class RequestFeatures:
    """What all candidates of a request share stands once, and so does what is true of an item
    whoever asks, so that it is worked on once.

    Attributes:
        schema: of all together; of each kind those of requests stand first, then those of items.
        requests: [B].
        items: [n], each item once for all requests of one moment; worked out when looked at.
        pairs: [m], of candidates, what is true of the request and the item together.
        places: int64 [m], the row of `items` of each candidate.
        offsets: int64 [B+1]; request i has the candidates offsets[i]:offsets[i+1].
    """

    schema: Schema
    requests: Block
    items: ItemFeatures
    pairs: Block
    places: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slices(self) -> Iterator[slice]:
        """Where the candidates of each request stand."""
        stops = self.offsets.tolist()
        return (slice(*pair) for pair in pairwise(stops))

    def narrowed(self, schema: Schema) -> RequestFeatures:
        """The same with the features of a schema that has some of theirs, in the same order."""
        if schema == self.schema:
            return self
        names = schema.names
        return replace(
            self,
            schema=schema,
            requests=self.requests.narrowed(names),
            items=self.items.changed(lambda block: block.narrowed(names), schema),
            pairs=self.pairs.narrowed(names),
        )

    def joined(self) -> FeatureBatch:
        """A row for each candidate, with the features of its request and its item too, [m]."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        blocks = [self.requests.take(rows), self.items.block.take(self.places), self.pairs]
        return Block.beside(blocks).batch(self.schema)
