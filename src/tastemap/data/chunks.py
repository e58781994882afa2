"""Files and frames as a stream of small Arrow tables, so that no large temporary ever stays.

A chunk's columns are called by role (user, item, time, value, kind) and by the names of the context
columns; its values are still raw. Lines that cannot be read at all come along as `broken`.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.arrow_types import from_python
from tastemap.data.names import ColumnNames
from tastemap.errors import DataError

__all__ = [
    "CHUNK_ROWS",
    "BrokenRow",
    "Chunk",
    "chunk_of",
    "frame_arrays",
    "frame_chunks",
    "frame_columns",
    "open_bytes",
]

CHUNK_ROWS = 1 << 20


@dataclass(frozen=True)
class BrokenRow:
    """A line that has no columns to look at: `row` counts from 1 without the header."""

    row: int
    text: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a source.

    Attributes:
        table: the raw columns by role and context name.
        columns: what each of them is called in the source.
        rows: the 1-based number of each row in the source, the header not counted.
        broken: rows of this part of the source that could not be read.
        from_text: whether integers, too, come as text (CSV has no types).
    """

    table: pa.Table
    columns: dict[str, str]
    rows: NDArray[np.int64] | range
    source: str
    broken: Sequence[BrokenRow] = field(default=())
    from_text: bool = False


def open_bytes(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def frame_chunks(frame: Any, names: ColumnNames, source: str = "frame") -> Iterator[Chunk]:
    """The rows of a pandas, Polars or Arrow frame, whose rows count from 1.

    Raises:
        DataError: it is none of these, or a column is missing.
    """
    found, take = _columns_of(frame)
    columns = names.resolve(found, source)
    total = len(take(columns["user"]))
    for start in range(0, total, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, total)
        arrays = {role: _to_arrow(take(name)[start:stop]) for role, name in columns.items()}
        yield chunk_of(arrays, columns, range(start + 1, stop + 1), source)


def chunk_of(
    arrays: Mapping[str, tuple[pa.Array, Sequence[tuple[int, str]]]],
    columns: dict[str, str],
    rows: NDArray[np.int64] | range,
    source: str,
    broken: Sequence[BrokenRow] = (),
) -> Chunk:
    """A chunk of columns that each come with their (place, text) entries that are no one value."""
    table = pa.table({role: values for role, (values, _) in arrays.items()})
    odd = {
        place: BrokenRow(
            int(rows[place]), text,
            f"column {columns[role]!r} holds a list or mapping, not one value",
            "Give one value a row",
        )
        for role, (_, entries) in arrays.items()
        for place, text in entries
    }  # fmt: skip
    if odd:
        whole = np.setdiff1d(np.arange(len(rows)), list(odd))
        table, rows = table.take(whole), np.asarray(rows)[whole]
        broken = sorted([*broken, *odd.values()], key=lambda each: each.row)
    return Chunk(table, columns, rows, source, broken)


def frame_columns(frame: Any) -> list[str]:
    """The names of a frame's columns."""
    return _columns_of(frame)[0]


def frame_arrays(frame: Any, only: Sequence[str] | None = None) -> dict[str, pa.Array]:
    """The columns of a pandas, Polars or Arrow frame by name, all or some; pandas' NaN are nulls.

    Raises:
        DataError: it is none of these, or has a column twice or one that Arrow has no type for.
    """
    names, take = _columns_of(frame)
    wanted = names if only is None else only
    for name, times in Counter(names).items():
        if times > 1 and name in wanted:
            raise DataError(
                "the column occurs more than once", column=name, remedy="Rename or drop one"
            )
    return {name: _arrow_of(take(name), name) for name in wanted}


def _arrow_of(column: Any, name: str) -> pa.Array:
    try:
        return _to_arrow(column)[0]
    except pa.ArrowNotImplementedError as error:
        raise DataError(
            f"the column's type is not understood ({error})", column=name,
            remedy="Convert or drop it",
        ) from error  # fmt: skip


def _columns_of(frame: Any) -> tuple[list[str], Any]:
    """The columns' names, and a function that gives one column that can be sliced."""
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, (pl.DataFrame, pa.Table, pa.RecordBatch)):
        names = frame.columns if isinstance(frame, pl.DataFrame) else frame.schema.names
        return names, lambda name: frame[name]
    if type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns"):
        labels = {str(label): label for label in frame.columns}
        return [str(label) for label in frame.columns], lambda name: frame[labels[name]]
    if hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
        return table.schema.names, lambda name: table[name]
    raise DataError(
        f"expected a pandas, Polars or Arrow frame, not {type(frame).__name__}",
        remedy="Use Dataset.from_files for files",
    )


def _to_arrow(column: Any) -> tuple[pa.Array, Sequence[tuple[int, str]]]:
    if isinstance(column, pl.Series):
        if column.dtype == pl.Object:
            return from_python(column.to_list())
        return column.to_arrow(compat_level=pl.CompatLevel.oldest()), ()
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column, ()
    try:
        return pa.Array.from_pandas(column), ()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return from_python(column.tolist())
