"""Tables of what is known about users and items beside their events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.chunks import frame_columns
from tastemap.data.files import read_table
from tastemap.data.names import recognise
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError

__all__ = ["aligned", "cell_of", "row_of", "side_table"]


def side_table(
    source: Any, role: Literal["user", "item"], vocabulary: Vocabulary
) -> pl.DataFrame | None:
    """A table of users or items (frame or file) with its id column first, called by its role.

    Ids take the type of the events' ids.

    Raises:
        DataError: there is no id column, or an id is missing or there twice.
    """
    if source is None:
        return None
    where = str(source) if isinstance(source, (str, Path)) else f"table of {role}s"
    frame = read_table(Path(source)) if isinstance(source, (str, Path)) else _as_polars(source)
    name = recognise(role, frame.columns)
    if name is None:
        raise DataError(
            f"no {role} column among {', '.join(frame.columns)}",
            source=where,
            remedy=f"Call the column of ids {role!r}",
        )
    target = pl.Int64 if vocabulary.is_integer else pl.String
    ids = frame[name].cast(target, strict=False)
    if ids.null_count():
        row = int(ids.is_null().arg_max() or 0)
        raise DataError(
            f"the {role}'s id is missing or not {'an integer' if vocabulary.is_integer else 'text'}"
            " as in the events",
            source=where, row=row + 1, column=name, value=frame[name][row],
        )  # fmt: skip
    twice = ~ids.is_first_distinct()
    if twice.any():
        row = int(twice.arg_max() or 0)
        raise DataError(
            f"the {role} is there twice", source=where, row=row + 1, column=name, value=ids[row],
            remedy="Keep one row of each",
        )  # fmt: skip
    if name != role and role in frame.columns:
        frame = frame.drop(role)
    return frame.select(ids.alias(role), pl.exclude(name))


def row_of(given: Mapping[str, Any], schema: pl.Schema, missing: str) -> pl.DataFrame:
    """One row with the columns of a table, null where nothing is given.

    Args:
        given: by column; text where the column holds dates or times.
        schema: of the table.
        missing: what is wrong where there is no such column, as a message begins.

    Raises:
        DataError: it is no mapping, there is no such column, or a value is not of its type.
    """
    if not isinstance(given, Mapping):
        raise DataError(
            f"what is known must be said by column, as in {{'hour': 'evening'}}, not as a "
            f"{type(given).__name__}"
        )
    row: dict[str, Any] = dict.fromkeys(schema)
    for name, value in given.items():
        if name not in schema:
            known = ", ".join(schema) or "none"
            raise DataError(f"{missing} (it has: {known})", column=name)
        row[name] = cell_of(name, value, schema[name])
    return pl.DataFrame({name: [value] for name, value in row.items()}, schema=schema)


def cell_of(column: str, value: Any, kind: pl.DataType) -> Any:
    """A value as it stands in a column of a type.

    Args:
        column: its name.
        value: text where the column holds dates or times.

    Raises:
        DataError: the value is not of the type.
    """
    try:
        if isinstance(value, str) and isinstance(kind, (pl.Date, pl.Datetime, pl.Time)):
            return pl.Series([value]).str.strptime(kind, strict=True).item()
        pl.Series([value], dtype=kind, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        raise DataError(f"must be of type {kind}", column=column, value=value) from None
    return value


def aligned(
    table: pl.DataFrame | None, key: str, vocabulary: Vocabulary, rows: NDArray[Any]
) -> pl.DataFrame | None:
    """The rows of a side table, without its ids, for some rows [n] of a vocabulary, nulls for those
    that it does not hold.

    Args:
        table: with a column `key` of ids, or None.
        key: "user" or "item".
        vocabulary: of the ids.
        rows: int [n].
    """
    if table is None:
        return None
    ids = table[key].to_arrow()
    place = np.full(len(vocabulary), -1, np.int64)
    found = vocabulary.rows(ids)
    place[found] = np.arange(len(found))
    place[0] = -1
    index = pl.Series(place[rows]).cast(pl.Int64)
    index = pl.select(pl.when(index >= 0).then(index)).to_series()
    return table.drop(key).select(pl.all().gather(index)) if table.width > 1 else pl.DataFrame()


def _as_polars(frame: Any) -> pl.DataFrame:
    frame_columns(frame)  # refuses what is no frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    return pl.DataFrame(frame if isinstance(frame, pa.Table) else pa.table(frame))
