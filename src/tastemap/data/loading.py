"""Raw chunks become the columns of a data set: checked, encoded, and freed as it goes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.chunks import Chunk, frame_chunks
from tastemap.data.columns import Flaw, parse_ids, parse_kinds, parse_times, parse_values
from tastemap.data.encoding import GrowingColumn, IdColumn, typed_text
from tastemap.data.files import file_chunks
from tastemap.data.names import ROLES, ColumnNames
from tastemap.data.rejects import RejectedRowsWarning, RejectFile
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError, ParameterError

__all__ = ["Events", "events_of_files", "events_of_frame", "load_events"]

Policy = Literal["raise", "reject"]


@dataclass(frozen=True)
class Events:
    """Checked columns [m] in the order of the input, as `Dataset.from_events` takes them."""

    users: Vocabulary
    items: Vocabulary
    user_rows: NDArray[np.int32]
    item_rows: NDArray[np.int32]
    times: NDArray[np.float64] | None
    values: NDArray[np.float32] | None
    kinds: NDArray[np.uint8] | None
    kind_names: tuple[str, ...]
    context: pl.DataFrame | None
    n_rejected: int


def events_of_frame(
    frame: Any,
    names: ColumnNames,
    weights: Mapping[str, float] | None,
    on_bad_rows: Policy,
    rejects: str | Path | None,
) -> Events:
    """The events of a pandas, Polars or Arrow frame; see `Dataset.from_frame`."""
    if on_bad_rows == "reject" and rejects is None:
        raise ParameterError("rejects: say where the rejected rows of a frame go (rejects=PATH)")
    return _load(frame_chunks(frame, names), "frame", names, weights, on_bad_rows, rejects)


def events_of_files(
    paths: str | Path | Sequence[str | Path],
    names: ColumnNames,
    weights: Mapping[str, float] | None,
    on_bad_rows: Policy,
    rejects: str | Path | None,
) -> Events:
    """The events of files, one after the other; see `Dataset.from_files`."""
    files = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    if not files:
        raise ParameterError("paths: give at least one file")
    chunks = (chunk for path in files for chunk in file_chunks(path, names))
    rejects = RejectFile.beside(files[0]) if rejects is None else rejects
    source = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    return _load(chunks, source, names, weights, on_bad_rows, rejects)


def _load(
    chunks: Iterator[Chunk],
    source: str,
    names: ColumnNames,
    weights: Mapping[str, float] | None,
    on_bad_rows: Policy,
    rejects: str | Path | None,
) -> Events:
    if on_bad_rows not in ("raise", "reject"):
        raise ParameterError(f'on_bad_rows: expected "raise" or "reject", not {on_bad_rows!r}')
    _check_weights(weights)
    file = RejectFile(rejects) if on_bad_rows == "reject" and rejects is not None else None
    with file if file is not None else nullcontext():
        events = load_events(chunks, source, weights, file)
    if file is not None and file.count:
        total = file.count + len(events.user_rows)
        warnings.warn(
            f"{file.count:,} of {total:,} rows were rejected; see {file.path}",
            RejectedRowsWarning,
            stacklevel=4,
        )
    return events


def load_events(
    chunks: Iterable[Chunk],
    source: str,
    weights: Mapping[str, float] | None = None,
    rejects: RejectFile | None = None,
) -> Events:
    """Checks and encodes chunks, which are dropped one by one.

    Raises:
        DataError: the first bad row, where there is no file for rejects; no row at all; or chunks
            of which only some have a time, value or kind.
    """
    users, items, kinds = IdColumn(), IdColumn(), IdColumn()
    times, values = GrowingColumn(np.float64), GrowingColumn(np.float32)
    context: list[pl.DataFrame] = []
    first: Chunk | None = None
    for chunk in chunks:
        first = first or chunk
        _check_same_columns(first, chunk)
        if weights is not None and "kind" not in chunk.columns:
            raise DataError(
                "there are weights but no column of kinds", source=chunk.source,
                remedy='Name it, as in kind="event_type"',
            )  # fmt: skip
        parsed, good = _parse(chunk, weights, rejects)
        users.add(parsed["user"], chunk.from_text)
        items.add(parsed["item"], chunk.from_text)
        if "kind" in parsed:
            kinds.add(parsed["kind"], False)
        if "time" in parsed:
            times.append(parsed["time"])
        if "value" in parsed:
            values.append(parsed["value"])
        extra = [name for name in chunk.columns if name not in ROLES]
        if extra:
            context.append(pl.DataFrame(pl.from_arrow(good.select(extra))))
        # What the raw chunks took is given back, or it would stay with Arrow's allocator.
        del parsed, good
        pa.default_memory_pool().release_unused()
    if first is None or len(users) == 0:
        rejected = rejects.count if rejects is not None else 0
        raise DataError(
            f"all {rejected:,} rows were rejected" if rejected else "there are no rows of data",
            source=source,
            remedy=f"See {rejects.path}" if rejects is not None and rejected else None,
        )
    user_vocabulary, user_rows = users.finish()
    item_vocabulary, item_rows = items.finish()
    kind_names, kind_codes = _finish_kinds(kinds, source)
    return Events(
        user_vocabulary,
        item_vocabulary,
        user_rows,
        item_rows,
        times.finish() if len(times) else None,
        values.finish() if len(values) else None,
        kind_codes,
        kind_names,
        _joined_context(context, first.from_text),
        rejects.count if rejects is not None else 0,
    )


def _parse(
    chunk: Chunk, weights: Mapping[str, float] | None, rejects: RejectFile | None
) -> tuple[dict[str, Any], pa.Table]:
    """The parsed columns of a chunk's good rows, and these rows."""
    parsed, flaws = _parsed_columns(chunk, weights)
    if not flaws and not chunk.broken:
        return parsed, chunk.table
    if rejects is None:
        raise _first_error(chunk, flaws)
    good = _reject(chunk, flaws, rejects)
    chunk = Chunk(
        chunk.table.filter(pa.array(good)), chunk.columns, np.asarray(chunk.rows)[good],
        chunk.source, (), chunk.from_text,
    )  # fmt: skip
    # Once more, since ids that only bad rows hold must not enter the vocabularies.
    return _parsed_columns(chunk, weights)[0], chunk.table


def _parsed_columns(
    chunk: Chunk, weights: Mapping[str, float] | None
) -> tuple[dict[str, Any], list[Flaw]]:
    parsers = {
        "user": parse_ids, "item": parse_ids, "time": parse_times, "value": parse_values,
        "kind": parse_kinds,
    }  # fmt: skip
    parsed: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for role, parse in parsers.items():
        if role in chunk.columns:
            try:
                parsed[role], found = parse(chunk.table[role], chunk.columns[role])
            except DataError as error:
                error_of_column = DataError(
                    error.problem, source=chunk.source, column=error.column, value=error.value,
                    remedy=error.remedy,
                )  # fmt: skip
                raise error_of_column from None
            flaws += found
    if weights is not None:
        weight, found = _weights_of(parsed["kind"], weights, chunk.columns["kind"])
        flaws += found
        parsed["value"] = weight * parsed["value"] if "value" in parsed else weight
    return parsed, flaws


def _weights_of(
    kinds: pa.DictionaryArray, weights: Mapping[str, float], column: str
) -> tuple[NDArray[np.float32], list[Flaw]]:
    by_code = [weights.get(name, np.nan) for name in kinds.dictionary.to_pylist()]
    codes = kinds.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    result = np.array([*by_code, 0.0], np.float32)[codes]
    unknown = np.isnan(result)
    if not unknown.any():
        return result, []
    known = ", ".join(weights)
    remedy = f"Give it one; there are weights for {known}"
    return result, [Flaw(unknown, column, "this kind of event has no weight", remedy)]


def _first_error(chunk: Chunk, flaws: Sequence[Flaw]) -> DataError:
    if flaws:
        flaw = min(flaws, key=lambda each: int(np.argmax(each.rows)))
        place = int(np.argmax(flaw.rows))
        row = int(chunk.rows[place])
    if chunk.broken and (not flaws or chunk.broken[0].row < row):
        broken = chunk.broken[0]
        return DataError(
            broken.problem, source=chunk.source, row=broken.row, value=broken.text,
            remedy=broken.remedy,
        )  # fmt: skip
    role = next(role for role, name in chunk.columns.items() if name == flaw.column)
    return DataError(
        flaw.problem, source=chunk.source, row=row, column=flaw.column,
        value=_shown(chunk.table[role][place].as_py()), remedy=flaw.remedy,
    )  # fmt: skip


def _reject(chunk: Chunk, flaws: Sequence[Flaw], rejects: RejectFile) -> NDArray[np.bool_]:
    """Writes the bad rows in order; returns which rows are good."""
    bad = np.zeros(len(chunk.table), bool)
    for flaw in flaws:
        bad |= flaw.rows
    places = np.flatnonzero(bad)
    records = chunk.table.take(places).rename_columns(list(chunk.columns.values())).to_pylist()
    lines: list[tuple[int, str, Any]] = [(row.row, row.problem, row.text) for row in chunk.broken]
    for place, record in zip(places, records, strict=True):
        reasons = (f"{flaw.column}: {flaw.problem}" for flaw in flaws if flaw.rows[place])
        shown = {name: _shown(value) for name, value in record.items()}
        lines.append((int(chunk.rows[place]), "; ".join(reasons), shown))
    for row, reason, record in sorted(lines, key=lambda line: line[0]):
        rejects.add(chunk.source, row, reason, record)
    return ~bad


def _shown(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _check_same_columns(first: Chunk, chunk: Chunk) -> None:
    if first.source == chunk.source:
        return
    for role in first.columns.keys() ^ chunk.columns.keys():
        with_it, without = (first, chunk) if role in first.columns else (chunk, first)
        raise DataError(
            f"no {role} column, though {with_it.source} has one ({with_it.columns[role]!r})",
            source=without.source,
            remedy="Give files of the same columns",
        )


def _check_weights(weights: Mapping[str, float] | None) -> None:
    for kind, weight in (weights or {}).items():
        if not (isinstance(weight, (int, float)) and np.isfinite(weight)):
            raise ParameterError(
                f"weights: the weight of {kind!r} must be a number, not {weight!r}"
            )


def _finish_kinds(kinds: IdColumn, source: str) -> tuple[tuple[str, ...], NDArray[np.uint8] | None]:
    if len(kinds) == 0:
        return ("event",), None
    vocabulary, rows = kinds.finish()
    names = vocabulary.ids_array.to_pylist()
    if len(names) > 256:
        raise DataError(
            f"there are {len(names):,} kinds of event, and 256 at most can be told apart",
            source=source,
            remedy="Map the right column as kind",
        )
    return tuple(names), (rows - 1).astype(np.uint8)


def _joined_context(parts: list[pl.DataFrame], from_text: bool) -> pl.DataFrame | None:
    if not parts:
        return None
    frame = pl.concat(parts, how="vertical_relaxed")
    return frame.select(typed_text(column) for column in frame) if from_text else frame
