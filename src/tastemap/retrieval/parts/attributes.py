"""What is known about users or items beside their events, as rows of a sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Attributes"]

# A category of its own needs so many rows, so that something can be learned about it.
_LEAST_ROWS = 2


class Attributes:
    """Turns rows of a table of attributes into numbers, a factor to learn for each of them.

    The kind of a column follows from its type: text, booleans and enumerations are categories;
    lists hold several categories, which count 1/n each; numbers, dates and times are scaled to mean
    0 and deviation 1, or, with `knots`, say how near they are to the two knots that they lie
    between, so that what is learned of them is a piecewise-linear function (Gorishniy et al. 2022,
    "On Embeddings for Numerical Features in Tabular Deep Learning", section 3.2). Every column of
    categories has one more number, for those that the table held less than twice or not at all.
    Text of which hardly anything occurs twice, such as titles, is read as the list of its words.
    Columns in which nothing at all occurs twice, and columns of other types are left out. A null
    says nothing: all numbers of its column are 0.

    Args:
        table: the attributes, without the column of ids; None for none.
        knots: how many a number has, at least 2, at as many of its quantiles; None for none.

    Attributes:
        names: what each number stands for, "genres=Comedy", "genres=?" (any other), "age" or, with
            knots, "age≈30".
    """

    def __init__(self, table: pl.DataFrame | None, knots: int | None = None) -> None:
        self._columns: list[_Categories | _Number | _Knots] = []
        self.names: list[str] = []
        for series in table if table is not None else []:
            column = _column_of(series, len(self.names), knots)
            if column is not None:
                self._columns.append(column)
                self.names += column.names

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, table: pl.DataFrame | None, n: int) -> csr_array:
        """Rows of a table as float32 [n, len(self)].

        Args:
            table: n rows; columns it lacks count as null. None for n rows that say nothing.
        """
        parts = [
            column.encode(table[column.name])
            for column in self._columns
            if table is not None and column.name in table.columns
        ]
        if not parts:
            return csr_array((n, len(self)), dtype=np.float32)
        rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return csr_array((values, (rows, columns)), shape=(n, len(self)), dtype=np.float32)


_Entries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class _Categories:
    """A column of categories, one or several a row; the first number is for any other category."""

    name: str
    first: int
    categories: list[str]

    @property
    def names(self) -> list[str]:
        return [f"{self.name}={category}" for category in ("?", *self.categories)]

    def encode(self, series: pl.Series) -> _Entries:
        frame = _said(series).with_columns(n=pl.len().over("row"))
        places = range(1, len(self.categories) + 1)
        place = frame["said"].replace_strict(
            self.categories, list(places), default=0, return_dtype=pl.Int64
        )
        weights = (1 / frame["n"]).cast(pl.Float32).to_numpy()
        return frame["row"].to_numpy(), place.to_numpy() + self.first, weights


class _Words(_Categories):
    """A column of texts, whose categories are words."""

    def encode(self, series: pl.Series) -> _Entries:
        return super().encode(_words(series))


@dataclass(frozen=True)
class _Number:
    name: str
    first: int
    mean: float
    deviation: float

    @property
    def names(self) -> list[str]:
        return [self.name]

    def encode(self, series: pl.Series) -> _Entries:
        numbers = _numbers(series)
        rows = np.flatnonzero(np.isfinite(numbers))
        scaled = (numbers[rows] - self.mean) / self.deviation
        return rows, np.full(len(rows), self.first), scaled.astype(np.float32)


@dataclass(frozen=True)
class _Knots:
    """A number between two knots counts 1 - w and w; beyond the ends it counts as the end."""

    name: str
    first: int
    knots: NDArray[np.float64]

    @property
    def names(self) -> list[str]:
        return [f"{self.name}≈{knot:g}" for knot in self.knots]

    def encode(self, series: pl.Series) -> _Entries:
        numbers = _numbers(series)
        rows = np.flatnonzero(np.isfinite(numbers))
        last = len(self.knots) - 1
        at = np.interp(numbers[rows], self.knots, np.arange(last + 1))
        left = np.minimum(at.astype(np.int64), last - 1)
        columns = self.first + np.stack([left, left + 1])
        weights = np.stack([1 - (at - left), at - left]).astype(np.float32)
        some = weights > 0
        return np.stack([rows, rows])[some], columns[some], weights[some]


def _column_of(
    series: pl.Series, first: int, knots: int | None
) -> _Categories | _Number | _Knots | None:
    kind = series.dtype
    if kind.is_numeric() or kind.is_temporal():
        numbers = _numbers(series)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers) == 0 or numbers.std() == 0:
            return None
        if knots is not None:
            return _Knots(
                series.name, first, np.unique(np.quantile(numbers, np.linspace(0, 1, knots)))
            )
        return _Number(series.name, first, float(numbers.mean()), float(numbers.std()))
    inner = kind.inner if isinstance(kind, pl.List) else kind
    if not isinstance(inner, (pl.String, pl.Boolean, pl.Categorical, pl.Enum)):
        return None
    make: type[_Categories] = _Categories
    if isinstance(kind, pl.String) and _is_text(series):
        make, series = _Words, _words(series)
    counts = _said(series)["said"].value_counts(name="n").filter(pl.col("n") >= _LEAST_ROWS)
    categories = counts["said"].sort().to_list()
    return make(series.name, first, categories) if categories else None


def _is_text(series: pl.Series) -> bool:
    """Whether most values stand alone and are of several words."""
    said = series.drop_nulls()
    spaced = said.str.contains(r"\w\s+\w")
    return bool(2 * said.is_unique().sum() > len(said) and 2 * spaced.sum() > len(said))


def _words(series: pl.Series) -> pl.Series:
    """The words of each text, in small letters; list of strings."""
    return series.cast(pl.String).str.to_lowercase().str.extract_all(r"\w+")


def _said(series: pl.Series) -> pl.DataFrame:
    """Columns row and said (text): a row for every category, without nulls and repeats."""
    frame = pl.DataFrame(
        {"row": pl.arange(len(series), dtype=pl.Int64, eager=True), "said": series}
    )
    if isinstance(series.dtype, pl.List):
        frame = frame.explode("said")
    said = frame.drop_nulls().select("row", pl.col("said").cast(pl.String))
    return said.unique(maintain_order=True)


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    return series.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy()
