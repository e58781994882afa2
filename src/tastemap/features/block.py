"""Some features of some rows; a batch is blocks side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.features.batch import Arrays, FeatureBatch, Ragged, below, narrowed
from tastemap.features.schema import Categorical, Feature, Numeric, Schema
from tastemap.features.schema import Sequence as SequenceOf

__all__ = ["Block"]


class Block:
    """The values of a few features for n rows, with arrays as in `FeatureBatch`; those of kinds
    that the features do not have may be left out."""

    def __init__(
        self,
        features: Sequence[Feature],
        n: int,
        *,
        categorical: NDArray[np.int64] | None = None,
        numeric: NDArray[np.float32] | None = None,
        multi_valued: tuple[Ragged, ...] = (),
        sequences: tuple[Ragged, ...] = (),
        vectors: tuple[NDArray[np.float32], ...] = (),
    ) -> None:
        self.features = tuple(features)
        self.categorical = np.empty((n, 0), np.int64) if categorical is None else categorical
        self.numeric = np.empty((n, 0), np.float32) if numeric is None else numeric
        self.multi_valued = multi_valued
        self.sequences = sequences
        self.vectors = vectors

    @classmethod
    def of_numbers(cls, n: int, numbers: Mapping[str, NDArray[Any]]) -> Block:
        """Numbers [n] by name."""
        numeric = np.empty((n, len(numbers)), np.float32)
        for place, column in enumerate(numbers.values()):
            numeric[:, place] = column
        return cls([Numeric(name) for name in numbers], n, numeric=numeric)

    @classmethod
    def of_rows(cls, n: int, rows: Mapping[str, tuple[NDArray[Any], int]]) -> Block:
        """Rows [n] of vocabularies by name, each with the vocabulary's size."""
        categorical = np.empty((n, len(rows)), np.int64)
        for place, (column, _) in enumerate(rows.values()):
            categorical[:, place] = column
        features = [Categorical(name, size) for name, (_, size) in rows.items()]
        return cls(features, n, categorical=categorical)

    @classmethod
    def beside(cls, blocks: Sequence[Block]) -> Block:
        """Blocks of the same rows, side by side."""
        return cls(
            [feature for block in blocks for feature in block.features],
            len(blocks[0].numeric),
            categorical=np.concatenate([block.categorical for block in blocks], axis=1),
            numeric=np.concatenate([block.numeric for block in blocks], axis=1),
            multi_valued=tuple(ragged for block in blocks for ragged in block.multi_valued),
            sequences=tuple(ragged for block in blocks for ragged in block.sequences),
            vectors=tuple(vectors for block in blocks for vectors in block.vectors),
        )

    @classmethod
    def below(cls, blocks: Sequence[Block]) -> Block:
        """Blocks of the same features, one below the other."""
        first = blocks[0]
        if len(blocks) == 1:
            return first
        return cls._of_arrays(first.features, below(blocks))

    @classmethod
    def _of_arrays(cls, features: Sequence[Feature], arrays: Arrays) -> Block:
        categorical, numeric, multi_valued, sequences, vectors = arrays
        return cls(
            features,
            len(numeric),
            categorical=categorical,
            numeric=numeric,
            multi_valued=multi_valued,
            sequences=sequences,
            vectors=vectors,
        )

    def take(self, rows: NDArray[Any]) -> Block:
        """The rows at places `rows`, which may repeat."""
        return Block(
            self.features,
            len(rows),
            categorical=self.categorical[rows],
            numeric=self.numeric[rows],
            multi_valued=tuple(ragged.take(rows) for ragged in self.multi_valued),
            sequences=tuple(ragged.take(rows) for ragged in self.sequences),
            vectors=tuple(vectors[rows] for vectors in self.vectors),
        )

    def only(self, known: Mapping[str, NDArray[np.bool_]]) -> Block:
        """The block with row 0, the unknown, in place of all others of some categorical features
        and of sequences of them, where bool [size] by the feature's name does not hold."""
        categorical, sequences = self.categorical, list(self.sequences)
        of_rows = [each.name for each in self.features if isinstance(each, Categorical)]
        of_lists = [each.of for each in self.features if isinstance(each, SequenceOf)]
        for place, name in enumerate(of_rows):
            if name in known:
                if categorical is self.categorical:
                    categorical = categorical.copy()
                categorical[:, place] *= known[name][categorical[:, place]]
        for place, name in enumerate(of_lists):
            if name in known:
                rows = sequences[place].rows
                sequences[place] = Ragged(sequences[place].offsets, rows * known[name][rows])
        return Block(
            self.features,
            len(self.numeric),
            categorical=categorical,
            numeric=self.numeric,
            multi_valued=self.multi_valued,
            sequences=tuple(sequences),
            vectors=self.vectors,
        )

    def narrowed(self, names: Collection[str]) -> Block:
        """The block with those of its features alone that have one of these names."""
        features = [feature for feature in self.features if feature.name in names]
        return self._of_arrays(features, narrowed(self, self.features, names))

    def numbers(self, name: str) -> NDArray[np.float32]:
        """The numbers [n] of a numeric feature."""
        names = [each.name for each in self.features if isinstance(each, Numeric)]
        column: NDArray[np.float32] = self.numeric[:, names.index(name)]
        return column

    def batch(self, schema: Schema) -> FeatureBatch:
        """The block as a batch; `schema` is that of its features."""
        return FeatureBatch(
            schema,
            self.categorical,
            self.numeric,
            self.multi_valued,
            self.sequences,
            self.vectors,
        )
