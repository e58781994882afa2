"""Which features there are, of which kind, and how many values each has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

from tastemap.errors import SchemaError, did_you_mean

__all__ = ["Categorical", "Feature", "MultiValued", "Numeric", "Schema", "Sequence", "Vector"]


@dataclass(frozen=True)
class Categorical:
    """One of a vocabulary's rows 0 to size - 1; row 0 stands for an unknown or missing value."""

    name: str
    size: int


@dataclass(frozen=True)
class MultiValued:
    """Any number of a vocabulary's rows 0 to size - 1, in no order; row 0 stands for an unknown
    value."""

    name: str
    size: int


@dataclass(frozen=True)
class Numeric:
    """A number, float32; NaN where it is missing."""

    name: str


@dataclass(frozen=True)
class Sequence:
    """Any number of rows, the oldest first, of the categorical feature called `of`, whose table it
    shares."""

    name: str
    of: str


@dataclass(frozen=True)
class Vector:
    """`size` numbers that belong together, such as the embedding of a text or a picture, float32;
    all NaN where they are missing."""

    name: str
    size: int


Feature = Categorical | MultiValued | Numeric | Sequence | Vector
_KINDS: dict[str, type[Feature]] = {
    "categorical": Categorical,
    "multi_valued": MultiValued,
    "numeric": Numeric,
    "sequence": Sequence,
    "vector": Vector,
}
_Kind = TypeVar("_Kind", Categorical, MultiValued, Numeric, Sequence, Vector)


@dataclass(frozen=True)
class Schema:
    """The features of a batch, in order.

    Raises:
        SchemaError: there is no feature, a name is empty or there twice, a size is below 1, or a
            sequence is of no categorical feature.
    """

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a schema needs at least one feature")
        name, times = Counter(feature.name for feature in self.features).most_common(1)[0]
        if times > 1:
            raise SchemaError(
                f"the feature {name!r} is there {times} times; give each its own name"
            )
        categorical = {feature.name for feature in self.categorical}
        for feature in self.features:
            if not feature.name:
                raise SchemaError("a feature has an empty name; give it one")
            if isinstance(feature, (Categorical, MultiValued)) and feature.size < 1:
                raise SchemaError(
                    f"the feature {feature.name!r} has the size {feature.size}, and must have at "
                    "least 1: row 0, of the unknown"
                )
            if isinstance(feature, Vector) and feature.size < 1:
                raise SchemaError(f"the feature {feature.name!r} has no numbers; leave it out")
            if isinstance(feature, Sequence) and feature.of not in categorical:
                known = ", ".join(sorted(categorical)) or "none"
                raise SchemaError(
                    f"the sequence {feature.name!r} is of {feature.of!r}, which is no categorical "
                    f"feature of the schema (these are: {known})"
                )

    @cached_property
    def categorical(self) -> tuple[Categorical, ...]:
        return self._of(Categorical)

    @cached_property
    def multi_valued(self) -> tuple[MultiValued, ...]:
        return self._of(MultiValued)

    @cached_property
    def numeric(self) -> tuple[Numeric, ...]:
        return self._of(Numeric)

    @cached_property
    def sequences(self) -> tuple[Sequence, ...]:
        return self._of(Sequence)

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        return self._of(Vector)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def sequence_size(self, sequence: Sequence) -> int:
        """The size of the vocabulary that a sequence shares."""
        return next(each.size for each in self.categorical if each.name == sequence.of)

    def without(self, names: Iterable[str]) -> Schema:
        """The schema with some features fewer; sequences of one of them go with it.

        Raises:
            SchemaError: there is no feature of a name, or none is left.
        """
        gone = set(names)
        for name in gone - set(self.names):
            raise SchemaError(
                f"there is no feature {name!r} to do without{did_you_mean(name, self.names)} "
                f"(there are: {', '.join(self.names)})"
            )
        gone |= {sequence.name for sequence in self.sequences if sequence.of in gone}
        return Schema(tuple(each for each in self.features if each.name not in gone))

    def described(self) -> list[dict[str, Any]]:
        """What a manifest keeps; `of_description` takes it back."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return [{"kind": kinds[type(each)], **asdict(each)} for each in self.features]

    @classmethod
    def of_description(cls, described: Iterable[Mapping[str, Any]]) -> Self:
        """The schema that `described` was taken from.

        Raises:
            SchemaError: it is no such description.
        """
        try:
            rows = [dict(each) for each in described]
            return cls(tuple(_KINDS[row.pop("kind")](**row) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"this is no description of features: {error}") from None

    def _of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        return tuple(feature for feature in self.features if isinstance(feature, kind))
