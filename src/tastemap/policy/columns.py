"""What rules look at of items: columns of the item table, by item row."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.columns import parse_times
from tastemap.data.dataset import Dataset
from tastemap.errors import RuleError, did_you_mean

__all__ = ["item_column", "item_numbers", "item_times", "labels", "wrong_column"]


def item_column(data: Dataset, name: str, key: str) -> pl.Series:
    """A column of the item table, [item rows - 1]: entry i is about item row i + 1.

    Raises:
        RuleError: there is no item table, or no such column; `key` is the rule's that named it.
    """
    table = data.item_attributes()
    known = [] if table is None else table.columns
    if table is None or name not in known:
        raise RuleError(
            f"the item table has no column {name!r}{did_you_mean(name, known)} "
            f"(it has: {', '.join(known) or 'none'})",
            key=key,
            remedy="Name one of its columns, or give an item table with this one",
        )
    return table[name]


def item_numbers(data: Dataset, name: str, key: str) -> NDArray[np.float64]:
    """A column of numbers or truth values, float64 [item rows]; NaN where there is none."""
    column = item_column(data, name, key)
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise wrong_column(column, key, "numbers")
    return _of_rows(column.cast(pl.Float64).fill_null(np.nan).to_numpy())


def item_times(data: Dataset, name: str, key: str, unit: str) -> NDArray[np.float64]:
    """A column of dates, times or years in Unix seconds, float64 [item rows]; NaN where missing.

    Raises:
        RuleError: the column is missing or of another type, or a time cannot be.
    """
    column = item_column(data, name, key)
    if unit == "year":
        if not column.dtype.is_numeric():
            raise wrong_column(column, key, "years")
        years = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = np.isfinite(years)
        if (np.abs(years[known]) > 9999).any():
            raise RuleError(
                f"the column {name!r} holds {years[known][np.abs(years[known]) > 9999][0]:g}, "
                "which is no year",
                key=key,
                remedy='Write unit = "time" for Unix seconds',
            )
        # Of a year its beginning, so that nothing is taken for newer than it may be.
        return _of_rows((years - 1970.0) * 365.2425 * 86_400)
    missing = column.is_null().to_numpy()
    if column.dtype.is_nested() or column.dtype == pl.Boolean:
        raise wrong_column(column, key, "dates or times")
    if column.dtype.is_numeric() and column.is_between(1, 9999).drop_nulls().all():
        raise RuleError(
            f"the column {name!r} holds numbers such as {column.max()!r}, which look like years",
            key=key,
            remedy='Write unit = "year"',
        )
    seconds, flaws = parse_times(column.to_arrow(), name)
    for flaw in flaws:
        # Old films are from before 1970.
        bad = flaw.rows & ~missing & ~(seconds < 0)
        if bad.any():
            raise RuleError(
                f"in the column {name!r} {flaw.problem} ({column[int(np.argmax(bad))]!r})",
                key=key,
                remedy=flaw.remedy,
            )
    return _of_rows(np.where(missing, np.nan, seconds))


def labels(
    data: Dataset, name: str, key: str, separator: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], pl.Series]:
    """The values of a column that may have several for an item.

    Args:
        separator: what stands between several values in a text; lists need none.

    Returns:
        offsets int64 [item rows + 1]; the numbers of values, int64, of item row i from offsets[i]
        to before offsets[i + 1], each once; and the values by number, as text or numbers.
    """
    column = item_column(data, name, key)
    if separator is not None:
        if column.dtype != pl.String:
            raise RuleError(
                f"the column {name!r} is of type {column.dtype}, which needs no separator",
                key="separator",
                remedy="Take it out",
            )
        column = column.str.split(separator)
    frame = pl.DataFrame({"row": np.arange(1, len(column) + 1), "value": column})
    if isinstance(column.dtype, (pl.List, pl.Array)):
        frame = frame.explode("value")
    if frame["value"].dtype.is_nested():
        raise wrong_column(column, key, "values or lists of them")
    if frame["value"].dtype == pl.String:
        stripped = pl.col("value").str.strip_chars()
        frame = frame.with_columns(value=pl.when(stripped != "").then(stripped))
    frame = frame.drop_nulls().unique(maintain_order=True)
    values = frame["value"]
    # False and true rank like their names; polars ranks no truth values.
    ranked = values.cast(pl.String) if values.dtype == pl.Boolean else values
    numbers = ranked.rank("dense").to_numpy().astype(np.int64) - 1
    counts = np.bincount(frame["row"].to_numpy(), minlength=len(data.items))
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return offsets, numbers, values.unique().sort()


def wrong_column(column: pl.Series, key: str, wanted: str) -> RuleError:
    """That a column is of another type than a rule needs."""
    return RuleError(
        f"the column {column.name!r} is of type {column.dtype}, and the rule needs {wanted}",
        key=key,
        remedy="Name another column, or convert this one",
    )


def _of_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with row 0, of which nothing is known."""
    return np.concatenate([[np.nan], values])
