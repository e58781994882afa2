"""Tables of attributes as features: those of users, of items, and of requests."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.histories import offsets_of
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError
from tastemap.features.block import Block
from tastemap.features.columns import Column, Kind, column_of, kind_of
from tastemap.features.schema import Categorical

__all__ = ["AttributeColumns"]

# A category of its own needs so many rows, so that something can be learned about it.
_LEAST_ROWS = 2
# So many rows are encoded one by one, and so many of these are remembered.
_FEW, _ROWS = 16, 4096


class AttributeColumns:
    """What is known of users, items or requests beside their events.

    The kind of a column follows from its type, as in frames of labelled rows. Left out are columns
    of categories most of which stand in one row only, such as titles, and columns of other types.

    Args:
        prefix: what the names of the features begin with, "item" for "item.genres".
        columns: by their names in the table; their own names are those of the features.
    """

    def __init__(self, prefix: str, columns: Mapping[str, Column]) -> None:
        self.prefix = prefix
        self.columns = dict(columns)
        self._features = tuple(each for column in columns.values() for each in column.features)
        self._row = lru_cache(_ROWS)(self._encode_row)

    @classmethod
    def of(cls, prefix: str, table: pl.DataFrame | None) -> Self:
        """The columns of a table without its ids; none where there is no table."""
        columns = {}
        for series in table if table is not None else []:
            column = _looked_at(series, f"{prefix}.{series.name}")
            if column is not None:
                columns[series.name] = column
        return cls(prefix, columns)

    @property
    def category_names(self) -> list[str]:
        """The names of the columns that hold categories, in the order of `categories_of`."""
        kinds = Kind.CATEGORICAL, Kind.MULTI_VALUED
        return [name for kind in kinds for name, each in self.columns.items() if each.kind is kind]

    def encode(self, table: pl.DataFrame | None, n: int) -> Block:
        """The features of n rows; columns that a table lacks count as null."""
        given = () if table is None else table.columns
        told = [
            table[name] if table is not None and name in given else pl.Series(name, [None] * n)
            for name in self.columns
        ]
        if not 0 < n <= _FEW or not told:
            return self._encoded([series.to_arrow() for series in told], n)
        # To look at an array takes much longer than at one value, and what requests say is said
        # again and again.
        rows = zip(*(series.to_list() for series in told), strict=True)
        return Block.below([self._row(*map(_hashable, row)) for row in rows])

    def _encode_row(self, *values: Any) -> Block:
        """The features of one row; lists as tuples."""
        return self._encoded([pa.array([value]) for value in values], 1)

    def _encoded(self, told: list[pa.Array], n: int) -> Block:
        """The features of n rows of all columns."""
        pairs = list(zip(self.columns.values(), told, strict=True))
        categories = [rows for column, values in pairs for rows in column.categories(values)]
        numbers = [part for column, values in pairs for part in column.numbers(values)]
        return Block(
            self._features,
            n,
            categorical=np.stack(categories, 1) if categories else None,
            numeric=np.stack(numbers, 1) if numbers else None,
            multi_valued=tuple(lists for column, values in pairs for lists in column.lists(values)),
            vectors=tuple(part for column, values in pairs for part in column.vectors(values)),
        )

    def categories_of(
        self, rows: Block
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """The categories of encoded rows [n], those of all columns in one numbering.

        Returns:
            offsets int64 [n+1] and categories int32 [m] by row, without unknown ones; and the
            column of each category, int32, a place in `category_names`.
        """
        n = len(rows.categorical)
        owners, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        sizes: list[int] = []
        of_rows = [each.name for each in self._features if isinstance(each, Categorical)]
        ragged = iter(rows.multi_valued)
        for name in self.category_names:
            column = self.columns[name]
            if column.kind is Kind.CATEGORICAL:
                values = rows.categorical[:, of_rows.index(column.name)]
                owner = np.flatnonzero(values)
                values = values[owner]
            else:
                lists = next(ragged)
                known = lists.rows > 0
                owner, values = np.repeat(np.arange(n), lists.counts)[known], lists.rows[known]
            owners.append(owner)
            found.append(values + sum(sizes))
            sizes.append(len(column.vocabulary))
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        return (
            offsets_of(np.bincount(owner, minlength=n).astype(np.int64)),
            np.concatenate(found)[order].astype(np.int32),
            np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
        )

    def to_frame(self) -> pl.DataFrame:
        """A row for each column, for storage."""
        columns = self.columns.values()
        vocabularies = [column.vocabulary for column in columns]
        return pl.DataFrame(
            {
                "prefix": [self.prefix] * len(columns),
                "kind": [column.kind.value for column in columns],
                "name": list(self.columns),
                "whole": [vocabulary.is_integer for vocabulary in vocabularies],
                "values": [
                    [str(value) for value in vocabulary.ids_array.to_pylist()]
                    for vocabulary in vocabularies
                ],
                "size": [column.size for column in columns],
            },
            schema={
                "prefix": pl.String,
                "kind": pl.String,
                "name": pl.String,
                "whole": pl.Boolean,
                "values": pl.List(pl.String),
                "size": pl.Int64,
            },
        )

    @classmethod
    def from_frame(cls, prefix: str, frame: pl.DataFrame) -> Self:
        """The columns of a prefix that `to_frame` wrote.

        Raises:
            ValueError: a kind that there is not.
        """
        columns = {}
        mine = frame.filter(pl.col("prefix") == prefix)
        for row in mine.iter_rows(named=True):
            name, values = row["name"], row["values"]
            vocabulary = Vocabulary([int(value) for value in values] if row["whole"] else values)
            # Older releases know of no vectors.
            size = row.get("size", 0)
            columns[name] = Column(f"{prefix}.{name}", Kind(row["kind"]), vocabulary, size=size)
        return cls(prefix, columns)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _looked_at(series: pl.Series, name: str) -> Column | None:
    values = series.to_arrow()
    try:
        kind = kind_of(values, name)
        column = column_of(values, name, kind, _LEAST_ROWS)
    except DataError:
        return None
    if kind is Kind.IGNORED:
        return None
    if kind is Kind.CATEGORICAL:
        said = column.categories(values)[0]
    elif kind is Kind.MULTI_VALUED:
        said = column.lists(values)[0].rows
    else:
        return column
    known = np.count_nonzero(said)
    nothing_said = series.null_count() if kind is Kind.CATEGORICAL else 0
    return column if 2 * known > len(said) - nothing_said else None
