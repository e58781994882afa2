"""Rows of a frame as features: an encoder that has looked at the training rows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any, Self

import numpy as np
import pyarrow as pa

from tastemap.data.chunks import frame_arrays
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError, ParameterError, did_you_mean
from tastemap.features.batch import FeatureBatch
from tastemap.features.columns import Column, Kind, column_of, kind_of, sequence_of
from tastemap.features.schema import Schema

__all__ = ["FrameEncoder"]

_KINDS = {kind.value for kind in Kind}


@dataclass(frozen=True, eq=False)
class FrameEncoder:
    """What turns rows of a pandas, Polars or Arrow frame into a `FeatureBatch`.

    The kind of a column comes from its type: text, truth values, enumerations and integers with few
    values, or called ids, are categorical, other numbers numeric; lists are multi-valued, and those
    of fractions vectors; a date or timestamp is a number of days, an hour and a weekday. Text is
    taken apart into its words where it is said to be "text". A value that the training rows did not
    have, or too few of them, and a missing one are row 0 of their feature, or NaN.

    Attributes:
        columns: of the training rows, in order.
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(
        cls,
        frame: Any,
        *,
        exclude: Collection[str] = (),
        kinds: Mapping[str, str] | None = None,
        min_rows: int = 2,
        hashed: int = 0,
    ) -> Self:
        """Looks at the training rows.

        Args:
            frame: the rows.
            exclude: columns that are no features, such as the label.
            kinds: by column "categorical", "multi_valued", "numeric", "time", "text", "vector",
                "ignored" or, for lists of what the column "item" holds, the oldest first,
                "sequence of item", where the type says another.
            min_rows: how many rows a category needs to be told from the unknown ones.
            hashed: rows of each column that such categories, and those seen later, share by their
                hash; with none they are the unknown.

        Raises:
            DataError: it is no frame, has no rows or no feature, or a column is of a type that
                cannot be one.
            ParameterError: `kinds` names an unknown column or kind, `min_rows` is below 1, or
                `hashed` below 0.
        """
        if not isinstance(min_rows, Integral) or min_rows < 1:
            raise ParameterError(f"min_rows must be a whole number from 1, got {min_rows!r}")
        if not isinstance(hashed, Integral) or hashed < 0:
            raise ParameterError(f"hashed must be a whole number from 0, got {hashed!r}")
        arrays = {
            name: values for name, values in frame_arrays(frame).items() if name not in exclude
        }
        said = {name: _kind(name, kind, arrays) for name, kind in (kinds or {}).items()}
        if not arrays or len(next(iter(arrays.values()))) == 0:
            raise DataError("the frame has no rows or no columns beside the label")
        alone: dict[str, Column] = {}
        for name, values in arrays.items():
            kind, of = said.get(name) or (kind_of(values, name), "")
            if not of:
                alone[name] = column_of(values, name, kind, min_rows, hashed)
        columns = tuple(
            alone.get(name) or sequence_of(values, name, _column(name, said[name][1], alone))
            for name, values in arrays.items()
        )
        if all(column.kind is Kind.IGNORED for column in columns):
            raise DataError("no column is left that could be a feature")
        return cls(columns)

    def with_values(self, frames: Sequence[Any], min_rows: int) -> Self:
        """The encoder of the same columns, each of the kind that it is, for the values of some
        frames together.

        Args:
            frames: whose rows have all been encoded by this one before.
            min_rows: how many rows a category needs, as in `fit`.
        """
        arrays = [frame_arrays(frame) for frame in frames]

        def alone(column: Column) -> Column:
            if column.kind is Kind.IGNORED:
                return column
            return column.with_values([each[column.name] for each in arrays], min_rows)

        found = {column.name: alone(column) for column in self.columns}
        return type(self)(
            tuple(
                replace(column, vocabulary=found[column.of].vocabulary) if column.of else column
                for column in found.values()
            )
        )

    @cached_property
    def schema(self) -> Schema:
        """The features that the columns make."""
        return Schema(tuple(feature for column in self.columns for feature in column.features))

    def encode(self, frame: Any) -> FeatureBatch:
        """The rows of a frame, in order. Columns that the training rows did not have are left out.

        Raises:
            DataError: it is no frame, a column is missing, or its values cannot be what they were.
        """
        arrays = frame_arrays(frame)
        used = [column for column in self.columns if column.kind is not Kind.IGNORED]
        for column in used:
            if column.name not in arrays:
                close = difflib.get_close_matches(column.name, list(arrays), n=1)
                raise DataError(
                    "the column is missing, and the training rows had it", column=column.name,
                    remedy=f"Is it the one called {close[0]!r}?" if close
                    else "Add it, with nulls where nothing is known",
                )  # fmt: skip
        pairs = [(column, arrays[column.name]) for column in used]
        n = len(pairs[0][1])
        categories = [rows for column, values in pairs for rows in column.categories(values)]
        numbers = [part for column, values in pairs for part in column.numbers(values)]
        return FeatureBatch(
            self.schema,
            np.stack(categories, 1) if categories else np.empty((n, 0), np.int64),
            np.stack(numbers, 1) if numbers else np.empty((n, 0), np.float32),
            tuple(lists for column, values in pairs for lists in column.lists(values)),
            tuple(lists for column, values in pairs for lists in column.sequences(values)),
            tuple(part for column, values in pairs for part in column.vectors(values)),
        )

    # -- saving ---------------------------------------------------------------------------------

    def described(self) -> list[dict[str, Any]]:
        """What a manifest keeps of the columns."""
        return [
            {
                "name": column.name,
                "kind": column.kind.value,
                "of": column.of,
                "hashed": column.hashed,
                "size": column.size,
            }
            for column in self.columns
        ]

    def tables(self) -> dict[str, pa.Table]:
        """The vocabularies of columns that have one, by a name for each."""
        return {
            _table_name(place): pa.table({"value": column.vocabulary.ids_array})
            for place, column in enumerate(self.columns)
            if column.kind in (Kind.CATEGORICAL, Kind.MULTI_VALUED, Kind.TEXT)
        }

    @classmethod
    def restored(
        cls, described: Collection[Mapping[str, Any]], tables: Mapping[str, pa.Table]
    ) -> Self:
        """The encoder that `described` and `tables` were taken from."""

        places = {each["name"]: place for place, each in enumerate(described)}

        def restored(name: str, kind: str, of: str = "", hashed: int = 0, size: int = 0) -> Column:
            table = tables.get(_table_name(places[of or name]))
            vocabulary = Vocabulary() if table is None else Vocabulary(table["value"])
            return Column(name, Kind(kind), vocabulary, of, hashed, size)

        return cls(tuple(restored(**each) for each in described))


def _table_name(place: int) -> str:
    return f"column-{place}"


def _kind(name: str, kind: str, arrays: Mapping[str, pa.Array]) -> tuple[Kind, str]:
    """What is said of a column: its kind, and for a sequence the column that it is of."""
    if name not in arrays:
        raise ParameterError(f"kinds: there is no column {name!r}{did_you_mean(name, arrays)}")
    word, space, of = kind.partition(" of ")
    if word not in _KINDS or (word == Kind.SEQUENCE.value) != bool(space):
        known = ", ".join(repr(each.value) for each in Kind if each is not Kind.SEQUENCE)
        raise ParameterError(
            f"kinds: column {name!r} must be one of {known} or 'sequence of COLUMN', got {kind!r}"
        )
    return Kind(word), of


def _column(name: str, of: str, columns: Mapping[str, Column]) -> Column:
    """The column that a sequence is of."""
    if of not in columns:
        raise ParameterError(
            f"kinds: column {name!r} is said to be a sequence of {of!r}, and there is no such "
            f"column{did_you_mean(of, columns)}"
        )
    return columns[of]
