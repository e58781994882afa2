"""CSV and TSV files as streams of chunks, read in blocks without Python for each line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from tastemap.data.chunks import CHUNK_ROWS, BrokenRow, Chunk, open_bytes
from tastemap.data.names import ColumnNames
from tastemap.errors import DataError

__all__ = ["csv_chunks"]

# Arrow reads up to 32 blocks ahead of what is taken from it.
_BLOCK_BYTES = 2 << 20


def csv_chunks(path: Path, names: ColumnNames, separator: str) -> Iterator[Chunk]:
    found, separator, has_rows = _header(path, separator)
    columns = names.resolve(found, str(path))
    if not has_rows:
        return
    ragged: list[BrokenRow] = []

    def on_ragged(row: Any) -> str:
        problem = f"the line has {row.actual_columns} fields, the header {row.expected_columns}"
        remedy = f"Quote fields that hold {separator!r}"
        ragged.append(BrokenRow(row.number - 1, row.text, problem, remedy))
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
    blank: NDArray[np.int64] | None = None
    try:
        with open_bytes(path) as raw:
            stream = _QuoteCounter(raw)
            with pa.csv.open_csv(stream, read, parse, convert) as reader:
                for raw_table in _gathered(reader):
                    table = pa.table({role: raw_table[name] for role, name in columns.items()})
                    skipped = np.array([row.row for row in ragged], np.int64)
                    rows = _numbers_without(skipped, done, len(table))
                    done += len(table)
                    new = [row for row in ragged[reported:] if len(rows) and row.row < rows[-1]]
                    reported += len(new)
                    empty = _all_null(table)
                    if empty.any():
                        blank = _blank_lines(path, separator) if blank is None else blank
                        kept = ~(empty & np.isin(rows, blank))
                        table, rows = table.filter(pa.array(kept)), np.asarray(rows)[kept]
                    yield Chunk(table, columns, rows, str(path), new, from_text=True)
    except pa.ArrowInvalid as error:
        raise _csv_error(path, str(error)) from None
    if stream.is_odd and _ends_in_quotes(path, separator):
        raise _csv_error(path, "the last line ends within quotes")
    if ragged[reported:]:
        none = pa.table({role: pa.array([], pa.binary()) for role in columns})
        yield Chunk(none, columns, range(0), str(path), ragged[reported:], from_text=True)


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Small batches put together, since each chunk has distinct ids of its own to keep."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        if count >= CHUNK_ROWS:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, count = [], 0
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _numbers_without(
    skipped: NDArray[np.int64], done: int, count: int
) -> NDArray[np.int64] | range:
    """Line numbers of the rows after `done` others, where some lines were skipped."""
    if not len(skipped):
        return range(done + 1, done + count + 1)
    kept_before = skipped - 1 - np.arange(len(skipped))
    ordinal = np.arange(done, done + count)
    return ordinal + 1 + np.searchsorted(kept_before, ordinal, side="right")


def _header(path: Path, separator: str) -> tuple[list[str], str, bool]:
    """The columns, what parts them, and whether anything follows."""
    with open_bytes(path) as file:
        line = file.readline(1 << 20)
        has_rows = bool(file.read(1))
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
    return next(csv.reader([text.rstrip("\r\n")], delimiter=separator)), separator, has_rows


class _QuoteCounter(io.RawIOBase):
    """Passes bytes on, and knows whether the quotes among them were odd in number."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.is_odd = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.is_odd ^= bool(data.count(b'"') & 1)
        return data


def _all_null(table: pa.Table) -> NDArray[np.bool_]:
    empty = np.ones(len(table), bool)
    for column in table.columns:
        if column.null_count == 0:
            return np.zeros(len(table), bool)
        empty &= column.is_null().to_numpy()
    return empty


# Arrow takes a blank line for a row of nulls, and an open quote at the end for a field. Files where
# there may be one are read once more by Python's own reader, which tells.


def _blank_lines(path: Path, separator: str) -> NDArray[np.int64]:
    blank = []
    with (
        open_bytes(path) as raw,
        io.TextIOWrapper(raw, errors="replace", newline="") as text,
        suppress(csv.Error),
    ):
        for number, record in enumerate(csv.reader(text, delimiter=separator)):
            if not record:
                blank.append(number)
    return np.array(blank, np.int64)


def _ends_in_quotes(path: Path, separator: str) -> bool:
    with open_bytes(path) as raw, io.TextIOWrapper(raw, errors="replace", newline="") as text:
        try:
            for _ in csv.reader(text, delimiter=separator, strict=True):
                pass
        except csv.Error as error:
            return "unexpected end" in str(error)
    return False


def _csv_error(path: Path, problem: str) -> DataError:
    with open_bytes(path) as file:
        for number, line in enumerate(file):
            if line.count(b'"') % 2:
                return DataError(
                    "a quote is opened and not closed", source=path, row=number,
                    value=line.decode(errors="replace").rstrip("\r\n"),
                    remedy='Close it, or write a quote within a quoted field as ""',
                )  # fmt: skip
    return DataError(problem, source=path, remedy="Is this a text file of that format?")
