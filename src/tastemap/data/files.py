"""CSV, TSV, JSON lines and Parquet files as streams of chunks.

Text is read in blocks of some megabytes and in typed columns, without Python for each line; only a
block that holds a broken line is looked at line by line, to say which.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from tastemap.data.chunks import CHUNK_ROWS, BrokenRow, Chunk, chunk_of
from tastemap.data.columns import from_python
from tastemap.data.names import ColumnNames
from tastemap.errors import DataError

__all__ = ["SUFFIXES", "file_chunks", "format_of", "read_table"]

SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".inter": "tsv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
"""File name endings and their formats; text formats may have .gz behind."""

_BLOCK_BYTES = 16 << 20
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
            yield from _json_chunks(path, names)
        else:
            yield from _csv_chunks(path, names, "," if kind == "csv" else "\t")
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


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


# -- CSV ------------------------------------------------------------------------------------------


def _csv_chunks(path: Path, names: ColumnNames, separator: str) -> Iterator[Chunk]:
    found, separator = _header(path, separator)
    columns = names.resolve(found, str(path))
    broken: list[BrokenRow] = []
    blank: list[int] = []

    def on_ragged(row: Any) -> str:
        number = row.number - 1
        if not row.text.strip():
            blank.append(number)
        else:
            problem = f"the line has {row.actual_columns} fields, the header {row.expected_columns}"
            remedy = f"Quote fields that hold {separator!r}"
            broken.append(BrokenRow(number, row.text, problem, remedy))
        return "skip"

    # Raw bytes: ids become numbers or text once all of them are known, so a file is never read
    # twice because its millionth id is the first that is no number. One thread, since the reader
    # numbers lines only then; it still reads ahead while the chunk before is being encoded.
    read = pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
    parse = pa.csv.ParseOptions(
        delimiter=separator,
        newlines_in_values=True,
        ignore_empty_lines=False,
        invalid_row_handler=on_ragged,
    )
    convert = pa.csv.ConvertOptions(
        include_columns=list(dict.fromkeys(columns.values())),
        column_types=dict.fromkeys(columns.values(), pa.binary()),
        strings_can_be_null=True,
        null_values=[""],
        check_utf8=False,
    )
    done = reported = 0
    try:
        stream = pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None)
        with stream, pa.csv.open_csv(stream, read, parse, convert) as reader:
            for batch in reader:
                table = pa.table({role: batch.column(name) for role, name in columns.items()})
                skipped = np.array(sorted([*blank, *(row.row for row in broken)]), np.int64)
                rows = _numbers_without(skipped, done, len(batch))
                last = int(rows[-1]) if len(rows) else done
                new = [row for row in broken[reported:] if row.row < last]
                reported += len(new)
                done += len(batch)
                yield Chunk(table, columns, rows, str(path), new, from_text=True)
    except pa.ArrowInvalid as error:
        raise _csv_error(path, error) from None
    if broken[reported:]:
        empty = pa.table({role: pa.array([], pa.binary()) for role in columns})
        yield Chunk(empty, columns, range(0), str(path), broken[reported:], from_text=True)


def _numbers_without(
    skipped: NDArray[np.int64], done: int, count: int
) -> NDArray[np.int64] | range:
    """Line numbers of the rows after `done` others, where some lines were skipped."""
    if not len(skipped):
        return range(done + 1, done + count + 1)
    kept_before = skipped - 1 - np.arange(len(skipped))
    ordinal = np.arange(done, done + count)
    return ordinal + 1 + np.searchsorted(kept_before, ordinal, side="right")


def _header(path: Path, separator: str) -> tuple[list[str], str]:
    with _open(path) as file:
        line = file.readline(1 << 20)
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the header is not valid UTF-8 (byte {error.start + 1} of the file)",
            source=path,
            value=line[error.start : error.end],
            remedy="Save the file as UTF-8",
        ) from None
    if not text.strip():
        raise DataError("the file has no header line", source=path)
    if separator == "," and "," not in text:
        separator = next((other for other in ";\t|" if other in text), separator)
    return next(csv.reader([text.rstrip("\r\n")], delimiter=separator)), separator


def _csv_error(path: Path, error: pa.ArrowInvalid) -> DataError:
    with _open(path) as file:
        for number, line in enumerate(file):
            if line.count(b'"') % 2:
                return DataError(
                    "a quote is opened and not closed", source=path, row=number,
                    value=line.decode(errors="replace").rstrip("\r\n"),
                    remedy='Close it, or write a quote within a quoted field as ""',
                )  # fmt: skip
    return DataError(str(error), source=path, remedy="Is this a text file of that format?")


# -- JSON lines -----------------------------------------------------------------------------------


def _json_chunks(path: Path, names: ColumnNames) -> Iterator[Chunk]:
    columns: dict[str, str] = {}
    line = 0
    with _open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            block += file.readline()
            count = block.count(b"\n") + (not block.endswith(b"\n"))
            frame = _read_json(block)
            if frame is not None and frame.height == count:
                columns = columns or names.resolve(frame.columns, str(path))
                missing = pl.Series([None] * count, dtype=pl.Null)
                table = {
                    role: frame[name] if name in frame.columns else missing
                    for role, name in columns.items()
                }
                if not any(series.dtype.is_nested() for series in table.values()):
                    oldest = pl.CompatLevel.oldest()
                    arrays = {
                        role: (series.to_arrow(compat_level=oldest), ())
                        for role, series in table.items()
                    }
                    rows = range(line + 1, line + count + 1)
                    yield chunk_of(arrays, columns, rows, str(path))
                    line += count
                    continue
            chunk = _json_by_line(block, line, columns, names, path)
            if chunk is not None:
                columns = chunk.columns
                yield chunk
            line += count


def _read_json(block: bytes) -> pl.DataFrame | None:
    try:
        return pl.read_ndjson(io.BytesIO(block), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        return None


def _json_by_line(
    block: bytes, before: int, columns: dict[str, str], names: ColumnNames, path: Path
) -> Chunk | None:
    """A block that has broken, blank or odd lines."""
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    broken: list[BrokenRow] = []
    for row, line in enumerate(block.split(b"\n"), start=before + 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            problem = "not valid UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        else:
            if isinstance(record, dict):
                records.append(record)
                rows.append(row)
                continue
            problem = "not an object in braces"
        broken.append(
            BrokenRow(row, line.decode(errors="replace"), f"the line is no JSON record ({problem})",
                      "Write one object a line, such as {\"user\": 1, \"item\": 2}")
        )  # fmt: skip
    if not columns:
        if not records and broken:
            first = broken[0]
            raise DataError(
                first.problem, source=path, row=first.row, value=first.text, remedy=first.remedy
            )
        if not records:
            return None
        found = list(dict.fromkeys(key for record in records for key in record))
        columns = names.resolve(found, str(path))
    arrays = {
        role: from_python([record.get(name) for record in records])
        for role, name in columns.items()
    }
    return chunk_of(arrays, columns, np.array(rows, np.int64), str(path), broken)


# -- Parquet --------------------------------------------------------------------------------------


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
