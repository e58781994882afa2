"""JSON lines as a stream of chunks; only a block that holds an odd line is read line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tastemap.data.arrow_types import from_python
from tastemap.data.chunks import BrokenRow, Chunk, chunk_of, open_bytes
from tastemap.data.names import ColumnNames
from tastemap.errors import DataError

__all__ = ["json_chunks"]

_BLOCK_BYTES = 16 << 20


def json_chunks(path: Path, names: ColumnNames) -> Iterator[Chunk]:
    columns: dict[str, str] = {}
    line = 0
    with open_bytes(path) as file:
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
                if not any(_may_be_nested(series) for series in table.values()):
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


def _may_be_nested(series: pl.Series) -> bool:
    """Whether there are lists or objects; Polars makes text of them where others are text."""
    if series.dtype == pl.String:
        return bool(series.str.contains(r"^[\[{]").any())
    return series.dtype.is_nested()


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
