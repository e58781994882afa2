"""Items by their words and attributes: TF-IDF vectors of the rows of a table."""

from __future__ import annotations

from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, hstack

from tastemap.data.text import folded, listed
from tastemap.errors import NotFittedError

__all__ = ["TfIdf"]

_BINS = 10
# A token of one row says nothing of any other.
_LEAST_ROWS = 2


class TfIdf:
    """Sparse vectors of unit length, in which every column of a table speaks equally loud.

    Text is taken apart into words without accents and case, lists and text joined by "|" into their
    values; whole numbers and fractions of many values are cut at their deciles, all else is a value
    as it stands. A token in df of n rows weighs its count times 1 + ln((1 + n) / (1 + df)) (Salton
    and Buckley 1988, with the smoothing that scikit-learn has), each column's part is made of unit
    length, and then the whole. So a long description does not drown the genres.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def fit(self, table: pl.DataFrame) -> Self:
        """Learns the tokens of a table's columns and how rare they are."""
        self._columns = {
            series.name: column for series in table if (column := _Column.of(series)) is not None
        }
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(self._columns)

    def encode(self, table: pl.DataFrame) -> csr_array:
        """The vectors of the rows of a table, float32 [n, tokens]; zero where no token is known.

        Columns that the table lacks count as null.

        Raises:
            NotFittedError: before `fit`.
        """
        if not self._columns:
            raise NotFittedError("TfIdf has learned nothing yet: call fit(table)")
        parts = [
            column.encode(table[name]) if name in table.columns else column.nothing(table.height)
            for name, column in self._columns.items()
        ]
        return _unit(csr_array(hstack(parts, format="csr")))


class _Column:
    """The tokens of one column.

    Attributes:
        is_text: whether values are taken apart into words.
        edges: the inner bounds of the bins of numbers, or None.
        tokens: each with its number and weight.
    """

    def __init__(self, is_text: bool, edges: NDArray[np.float64] | None) -> None:
        self.is_text = is_text
        self.edges = edges
        self.tokens = pl.DataFrame()

    @classmethod
    def of(cls, series: pl.Series) -> _Column | None:
        values = series.drop_nulls()
        n_distinct = values.n_unique() if not isinstance(values.dtype, pl.List) else 0
        edges, is_text = None, False
        if values.dtype.is_numeric() and n_distinct > 2 * _BINS:
            edges = np.unique(np.quantile(values.to_numpy(), np.arange(1, _BINS) / _BINS))
        elif values.dtype == pl.Utf8:
            # Words where most values stand in one row only, as titles and descriptions do.
            is_text = (
                n_distinct > len(values) / 2 and not values.str.contains("|", literal=True).any()
            )
        elif not (
            values.dtype.is_numeric()
            or values.dtype in (pl.Boolean, pl.Categorical)
            or isinstance(values.dtype, pl.List)
        ):
            return None
        column = cls(is_text, edges)
        found = column._pairs(series).unique()
        counts = found.group_by("token").agg(df=pl.len()).filter(pl.col("df") >= _LEAST_ROWS)
        if counts.height == 0:
            return None
        weight = 1 + ((1 + series.len()) / (1 + pl.col("df"))).log()
        column.tokens = counts.sort("token").with_row_index("place").with_columns(weight=weight)
        return column

    def _pairs(self, series: pl.Series) -> pl.DataFrame:
        """Each token of each row: columns row and token."""
        if self.edges is not None:
            numbers = series.cast(pl.Float64, strict=False)
            bins = np.searchsorted(self.edges, numbers.fill_null(np.nan).to_numpy(), side="right")
            series = pl.select(pl.when(numbers.is_not_null()).then(pl.Series(bins))).to_series()
        elif self.is_text:
            series = folded(series.cast(pl.Utf8, strict=False)).str.extract_all(r"\w+")
        else:
            series = listed(series)
        frame = pl.DataFrame({"row": np.arange(series.len()), "token": series})
        if isinstance(series.dtype, pl.List):
            frame = frame.explode("token")
        return frame.with_columns(pl.col("token").cast(pl.Utf8)).drop_nulls()

    def nothing(self, n: int) -> csr_array:
        return csr_array((n, self.tokens.height), dtype=np.float32)

    def encode(self, series: pl.Series) -> csr_array:
        found = self._pairs(series).join(self.tokens, on="token").sort("row", "place")
        rows, places = found["row"].to_numpy(), found["place"].to_numpy()
        shape = (series.len(), self.tokens.height)
        # The same word twice in a row counts twice.
        return _unit(
            csr_array((found["weight"].cast(pl.Float32).to_numpy(), (rows, places)), shape)
        )


def _unit(vectors: csr_array) -> csr_array:
    lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return csr_array(diags_array(inverse.astype(np.float32)) @ vectors)
