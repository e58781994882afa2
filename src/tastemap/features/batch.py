"""The values of a schema's features for n rows, as plain arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import offsets_of
from tastemap.errors import SchemaError
from tastemap.features.schema import Categorical, Feature, MultiValued, Numeric, Schema, Vector
from tastemap.features.schema import Sequence as SequenceOf
from tastemap.kernels.ragged import take_ragged

__all__ = ["Arrays", "FeatureBatch", "Ragged", "below", "narrowed"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists of rows of a vocabulary, laid one after the other.

    Attributes:
        offsets: int64 [n + 1]; list i is the slice offsets[i]:offsets[i + 1] of `rows`.
        rows: int64 [m].
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Iterable[Sequence[int] | NDArray[Any]]) -> Ragged:
        """Ragged rows of lists of them."""
        parts = [np.asarray(part, np.int64) for part in lists]
        offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        return cls(offsets, np.concatenate(parts) if parts else np.empty(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The lists of all parts, one after the other."""
        counts = np.concatenate([part.counts for part in parts])
        return cls(offsets_of(counts), np.concatenate([part.rows for part in parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """The length of each list, int64 [n]."""
        return self.offsets[1:] - self.offsets[:-1]

    def take(self, rows: NDArray[Any]) -> Ragged:
        """The lists at places `rows`, int [k] from 0 to n - 1, in that order."""
        return Ragged(*take_ragged(self.offsets, self.rows, rows))

    def slice(self, start: int, stop: int) -> Ragged:
        """The lists from `start` to before `stop`, which share their rows with these."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(offsets - offsets[0], self.rows[offsets[0] : offsets[-1]])


Arrays = tuple[
    NDArray[np.int64],
    NDArray[np.float32],
    tuple[Ragged, ...],
    tuple[Ragged, ...],
    tuple[NDArray[np.float32], ...],
]
"""The values of a `FeatureBatch`, in the order of its attributes."""


def below(parts: Sequence[Any]) -> Arrays:
    """The arrays of all parts, one below the other; a part has those of a `FeatureBatch`, of the
    same features as the others."""
    return (
        np.concatenate([part.categorical for part in parts]),
        np.concatenate([part.numeric for part in parts]),
        tuple(map(Ragged.joined, zip(*(part.multi_valued for part in parts), strict=True))),
        tuple(map(Ragged.joined, zip(*(part.sequences for part in parts), strict=True))),
        tuple(map(np.concatenate, zip(*(part.vectors for part in parts), strict=True))),
    )


def narrowed(part: Any, features: Iterable[Feature], names: Collection[str]) -> Arrays:
    """The arrays of some of a part's features, which has those of a `FeatureBatch`, in their order;
    `names` are theirs, and perhaps others'."""

    def places(kind: type[Feature]) -> list[int]:
        of_kind = [feature.name for feature in all_ if isinstance(feature, kind)]
        return [place for place, name in enumerate(of_kind) if name in names]

    all_ = tuple(features)
    return (
        part.categorical[:, places(Categorical)],
        part.numeric[:, places(Numeric)],
        tuple(part.multi_valued[place] for place in places(MultiValued)),
        tuple(part.sequences[place] for place in places(SequenceOf)),
        tuple(part.vectors[place] for place in places(Vector)),
    )


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """n rows of a schema's features, by kind in the schema's order.

    Attributes:
        schema: which features they are.
        categorical: int64 [n, C].
        numeric: float32 [n, M], NaN where missing.
        multi_valued, sequences: one `Ragged` [n] for each such feature.
        vectors: float32 [n, size] for each such feature, NaN in all of a row that is missing.

    Raises:
        SchemaError: an array has another dtype or shape than the schema says.
    """

    schema: Schema
    categorical: NDArray[np.int64]
    numeric: NDArray[np.float32]
    multi_valued: tuple[Ragged, ...] = ()
    sequences: tuple[Ragged, ...] = ()
    vectors: tuple[NDArray[np.float32], ...] = ()

    def __post_init__(self) -> None:
        n, schema = len(self.categorical), self.schema
        for name, array, columns, dtype in (
            ("categorical", self.categorical, len(schema.categorical), np.int64),
            ("numeric", self.numeric, len(schema.numeric), np.float32),
        ):
            _check_array(name, array, (n, columns), dtype)
        if len(self.vectors) != len(schema.vectors):
            raise SchemaError(
                f"vectors must be {len(schema.vectors)} arrays, and are {len(self.vectors)}"
            )
        for feature, vectors in zip(schema.vectors, self.vectors, strict=True):
            _check_array(f"the feature {feature.name!r}", vectors, (n, feature.size), np.float32)
        for name, lists, expected in (
            ("multi_valued", self.multi_valued, len(schema.multi_valued)),
            ("sequences", self.sequences, len(schema.sequences)),
        ):
            if [len(ragged) for ragged in lists] != [n] * expected:
                raise SchemaError(
                    f"{name} must be {expected} lists of rows for each of {n} rows, and has "
                    f"{[len(ragged) for ragged in lists]}"
                )

    @classmethod
    def joined(cls, parts: Sequence[FeatureBatch]) -> FeatureBatch:
        """The rows of all parts, of one schema, one after the other."""
        return cls(parts[0].schema, *below(parts))

    def __len__(self) -> int:
        return len(self.categorical)

    def take(self, rows: NDArray[Any]) -> FeatureBatch:
        """The rows at places `rows`, int [k] from 0 to n - 1, in that order."""
        return FeatureBatch(
            self.schema,
            self.categorical[rows],
            self.numeric[rows],
            tuple(ragged.take(rows) for ragged in self.multi_valued),
            tuple(ragged.take(rows) for ragged in self.sequences),
            tuple(vectors[rows] for vectors in self.vectors),
        )

    def slice(self, start: int, stop: int) -> FeatureBatch:
        """The rows from `start` to before `stop`, which share memory with these."""
        stop = min(stop, len(self))
        return FeatureBatch(
            self.schema,
            self.categorical[start:stop],
            self.numeric[start:stop],
            tuple(ragged.slice(start, stop) for ragged in self.multi_valued),
            tuple(ragged.slice(start, stop) for ragged in self.sequences),
            tuple(vectors[start:stop] for vectors in self.vectors),
        )

    def narrowed(self, schema: Schema) -> FeatureBatch:
        """The rows with the features of a schema that has some of theirs, in the same order."""
        if schema == self.schema:
            return self
        return FeatureBatch(schema, *narrowed(self, self.schema.features, schema.names))

    def check_rows(self) -> None:
        """Looks at every value, which the constructor does not.

        Raises:
            SchemaError: a row outside its feature's vocabulary, or an infinite number.
        """
        schema = self.schema
        for place, feature in enumerate(schema.categorical):
            _check_range(feature.name, self.categorical[:, place], feature.size)
        for several, ragged in zip(schema.multi_valued, self.multi_valued, strict=True):
            _check_range(several.name, ragged.rows, several.size)
        for sequence, ragged in zip(schema.sequences, self.sequences, strict=True):
            _check_range(sequence.name, ragged.rows, schema.sequence_size(sequence))
        infinite = np.isinf(self.numeric)
        if infinite.any():
            name = schema.numeric[int(infinite.any(axis=0).argmax())].name
            raise SchemaError(f"the feature {name!r} has an infinite value; give NaN for a missing")
        for given, vectors in zip(schema.vectors, self.vectors, strict=True):
            lacking = np.isnan(vectors)
            if np.isinf(vectors).any() or (lacking.any(1) != lacking.all(1)).any():
                raise SchemaError(
                    f"the feature {given.name!r} has a vector with an infinite or a missing "
                    "number; give NaN in all of a vector that is missing"
                )


def _check_array(name: str, array: NDArray[Any], shape: tuple[int, int], dtype: Any) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise SchemaError(
            f"{name} must be {np.dtype(dtype).name} {list(shape)}, and is "
            f"{array.dtype} {list(array.shape)}"
        )


def _check_range(name: str, rows: NDArray[np.int64], size: int) -> None:
    if len(rows) and (rows.min() < 0 or rows.max() >= size):
        wrong = rows[(rows < 0) | (rows >= size)][0]
        raise SchemaError(
            f"the feature {name!r} has the row {wrong}, and its rows are 0 to {size - 1}; "
            "give 0 for an unknown value"
        )
