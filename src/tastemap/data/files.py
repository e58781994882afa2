"""Files of events as streams of chunks, and small tables as a whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from tastemap.data.chunks import CHUNK_ROWS, Chunk
from tastemap.data.csv_files import csv_chunks
from tastemap.data.json_lines import json_chunks
from tastemap.data.names import ColumnNames
from tastemap.errors import DataError

__all__ = ["SUFFIXES", "file_chunks", "format_of", "read_table"]

SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".inter": "tsv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
"""File name endings and their formats; text formats may have .gz behind."""

_GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


def format_of(path: Path) -> str:
    """The format that a file's name tells.

    Raises:
        DataError: it tells none, or the file is not there.
    """
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    kind = SUFFIXES.get(plain.suffix.lower())
    if not path.exists():
        raise DataError("there is no such file", source=path)
    if path.is_dir():
        raise DataError(
            "this is a folder", source=path,
            remedy="Give its files, as in sorted(Path(folder).glob('*.parquet'))",
        )  # fmt: skip
    if kind is None or (kind == "parquet" and path.suffix == ".gz"):
        raise DataError(
            f"unknown file format {path.suffix!r}", source=path,
            remedy=f"Name it with one of {', '.join(SUFFIXES)} (text also with .gz behind)",
        )  # fmt: skip
    if path.stat().st_size == 0:
        raise DataError("the file is empty", source=path)
    return kind


def file_chunks(path: Path, names: ColumnNames) -> Iterator[Chunk]:
    """The rows of a file in order.

    Raises:
        DataError: a column is missing, or the file is damaged or no such format.
    """
    kind = format_of(path)
    try:
        if kind == "parquet":
            yield from _parquet_chunks(path, names)
        elif kind == "jsonl":
            yield from json_chunks(path, names)
        else:
            yield from csv_chunks(path, names, "," if kind == "csv" else "\t")
    except (*_GZIP_ERRORS, OSError) as error:
        raise DataError(
            f"cannot read the file ({error})", source=path, remedy="Is it damaged or cut off?"
        ) from None


def read_table(path: Path) -> pl.DataFrame:
    """A whole small file, such as a table of items, with types inferred from all of it.

    Raises:
        DataError: the file is damaged or no such format.
    """
    kind = format_of(path)
    try:
        if kind == "parquet":
            return pl.read_parquet(path)
        if kind == "jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        separator = "," if kind == "csv" else "\t"
        return pl.read_csv(path, separator=separator, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        message = str(error).strip().partition("\n")[0]
        raise DataError(f"cannot read the table ({message})", source=path) from None


def _parquet_chunks(path: Path, names: ColumnNames) -> Iterator[Chunk]:
    start = 0
    try:
        with pa.parquet.ParquetFile(path, pre_buffer=False) as file:
            columns = names.resolve(file.schema_arrow.names, str(path))
            wanted = list(dict.fromkeys(columns.values()))
            for batch in file.iter_batches(CHUNK_ROWS, columns=wanted):
                table = pa.table({role: batch.column(name) for role, name in columns.items()})
                rows = range(start + 1, start + len(batch) + 1)
                yield Chunk(table, columns, rows, str(path))
                start += len(batch)
    except (pa.ArrowException, OSError) as error:
        message = str(error).partition("\n")[0]
        raise DataError(
            f"not a whole Parquet file ({message})",
            source=path,
            row=start + 1 if start else None,
            remedy="The file is damaged or cut off: fetch or write it again",
        ) from None
