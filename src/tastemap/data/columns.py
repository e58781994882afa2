"""How the raw values of a log's columns become ids, seconds and weights.

Everything here looks at a whole column at once. A bad value is not raised but described by a
`Flaw`, since only the caller knows the row's place in the file and whether bad rows are rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.arrow_types import decoded, is_number, is_text, nulls, plain, wrong_type

__all__ = [
    "Flaw", "parse_ids", "parse_kinds", "parse_positions", "parse_times", "parse_values"
]  # fmt: skip

LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
"""Times beyond this (Unix seconds) are taken for a mistake of unit."""

_EARLY = datetime(1980, 1, 1, tzinfo=UTC).timestamp()

_ISO_REMEDY = "Give Unix seconds or ISO 8601 text, such as 2024-01-31T12:00:00Z"


@dataclass(frozen=True)
class Flaw:
    """What is wrong with some rows of a column: `rows` is bool [n]."""

    rows: NDArray[np.bool_]
    column: str
    problem: str
    remedy: str


# -- ids ------------------------------------------------------------------------------------------


def parse_ids(values: pa.Array, column: str) -> tuple[pa.DictionaryArray, list[Flaw]]:
    """Ids as distinct values in order of first appearance and an index into them.

    Strings and integers stay what they are; floats that are whole numbers are integers (pandas
    makes floats of integers with missing values). Bytes are UTF-8 text.

    Raises:
        DataError: the column is of another type altogether.
    """
    values = plain(values)
    flaws: list[Flaw] = []
    if pa.types.is_null(values.type):
        values = values.cast(pa.large_string())
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        # NaN stands for a null here, and is reported as one below.
        broken = ~((np.floor(numbers) == numbers) & (np.abs(numbers) < 2**53)) & ~np.isnan(numbers)
        flaws += _flaw(broken, column, "the id is not a whole number", "Ids are text or integers")
        usable = np.where(broken | np.isnan(numbers), 0, numbers).astype(np.int64)
        values = pa.array(usable, mask=np.isnan(numbers) | broken)
    textual = is_text(values.type)
    if not (textual or pa.types.is_integer(values.type)):
        raise wrong_type(values, column, "ids must be strings or integers")
    encoded = values.dictionary_encode()
    index, distinct = encoded.indices, encoded.dictionary
    if textual:
        distinct, broken_text = decoded(distinct)
        flaws += _flaw(
            _of_distinct(broken_text, index), column, "the id is not valid UTF-8",
            "Save the file as UTF-8",
        )  # fmt: skip
        blank = pc.equal(pc.utf8_trim_whitespace(distinct), "")
        empty = _of_distinct(blank.fill_null(False).to_numpy(zero_copy_only=False), index)
        flaws += _flaw(empty, column, "the id is empty", "Give every event a user and an item")
    elif pa.types.is_uint64(distinct.type):
        largest = pa.scalar(2**63 - 1, pa.uint64())
        too_large = pc.greater(distinct, largest).to_numpy(zero_copy_only=False)
        flaws += _flaw(
            _of_distinct(too_large, index), column, "the integer id does not fit 64 bits",
            "Write such ids as text",
        )  # fmt: skip
        if too_large.any():
            distinct = pc.if_else(pa.array(too_large), pa.scalar(0, pa.uint64()), distinct)
    if encoded.null_count:
        missing = index.is_null().to_numpy(zero_copy_only=False)
        for flaw in flaws:
            missing &= ~flaw.rows
        flaws += _flaw(missing, column, "the id is missing", "Give every event a user and an item")
    target = pa.large_string() if textual else pa.int64()
    return pa.DictionaryArray.from_arrays(index, distinct.cast(target)), flaws


def parse_kinds(values: pa.Array, column: str) -> tuple[pa.DictionaryArray, list[Flaw]]:
    """Kinds of event as distinct text and an index into it."""
    encoded, flaws = parse_ids(values, column)
    flaws = [
        Flaw(flaw.rows, flaw.column, flaw.problem.replace("the id", "the kind of event"),
             "Give every event a kind, such as view or purchase")
        for flaw in flaws
    ]  # fmt: skip
    names = encoded.dictionary.cast(pa.large_string())
    return pa.DictionaryArray.from_arrays(encoded.indices, names), flaws


def _of_distinct(marked: NDArray[np.bool_], index: pa.Array) -> NDArray[np.bool_]:
    """Rows whose distinct value is marked."""
    if not marked.any():
        return np.zeros(len(index), bool)
    positions = index.fill_null(0).to_numpy(zero_copy_only=False)
    rows: NDArray[np.bool_] = marked[positions] & ~nulls(index)
    return rows


# -- numbers and times ----------------------------------------------------------------------------


def parse_values(values: pa.Array, column: str) -> tuple[NDArray[np.float32], list[Flaw]]:
    """Values as float32 [n]; numeric text is understood.

    Raises:
        DataError: the column is of another type altogether.
    """
    values = plain(values)
    missing = nulls(values)
    remedy = "Give a finite number, or leave the row out"
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if is_text(values.type):
        text, broken = decoded(values)
        numbers, not_numeric = _numbers(text)
        unreadable = broken | not_numeric
    elif pa.types.is_null(values.type) or is_number(values.type):
        numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        unreadable = np.zeros(len(numbers), bool)
    else:
        raise wrong_type(values, column, "values must be numbers")
    with np.errstate(over="ignore"):
        result = numbers.astype(np.float32)
    infinite = ~np.isfinite(result) & ~missing & ~unreadable
    return result, [
        *_flaw(missing, column, "the value is missing", remedy),
        *_flaw(unreadable, column, "the value is not a number", remedy),
        *_flaw(infinite, column, "the value is not a finite number", remedy),
    ]


def parse_positions(values: pa.Array, column: str) -> tuple[NDArray[np.int64], list[Flaw]]:
    """Places at which items were shown, from 1, int64 [n]; 0 where there is none.

    Raises:
        DataError: the column is of another type altogether.
    """
    places, _ = parse_values(values, column)
    known = ~pc.is_null(plain(values), nan_is_null=True).to_numpy(zero_copy_only=False)
    whole = np.isfinite(places) & (places == np.floor(places))
    flaws = _flaw(
        known & ~(whole & (places >= 1)), column,
        "a position must be a whole number from 1, the first place",
        "Add 1 where places count from 0; leave empty what is not known",
    )  # fmt: skip
    return np.where(known & whole, places, 0).astype(np.int64), flaws


def parse_times(values: pa.Array, column: str) -> tuple[NDArray[np.float64], list[Flaw]]:
    """Unix seconds, float64 [n], from seconds, numeric or ISO 8601 text, dates or timestamps.

    Text and timestamps without a zone are UTC.

    Raises:
        DataError: the column is of another type altogether.
    """
    values = plain(values)
    missing = nulls(values)
    unreadable = np.zeros(len(values), bool)
    if is_text(values.type):
        text, broken = decoded(values)
        seconds, not_numeric = _numbers(text)
        if not_numeric.any():
            dates = text.filter(pa.array(not_numeric))
            seconds[not_numeric] = _iso_seconds(dates)
            unreadable = not_numeric & np.isnan(seconds)
        unreadable |= broken
    elif pa.types.is_timestamp(values.type):
        scale = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[values.type.unit]
        seconds = _ticks(values) / scale
    elif pa.types.is_date(values.type):
        seconds = _ticks(values.cast(pa.timestamp("s")))
    elif pa.types.is_null(values.type) or is_number(values.type):
        seconds = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        raise wrong_type(values, column, "times must be Unix seconds, ISO 8601 text or timestamps")
    known = ~missing & ~unreadable
    flaws = [
        *_flaw(missing, column, "the time is missing", _ISO_REMEDY),
        *_flaw(
            unreadable, column, "the time is neither a number nor an ISO 8601 date", _ISO_REMEDY
        ),
        *_flaw(~np.isfinite(seconds) & known, column, "the time is not finite", _ISO_REMEDY),
    ]
    return seconds, flaws + _out_of_range(seconds, known, column)


def _out_of_range(
    seconds: NDArray[np.float64], known: NDArray[np.bool_], column: str
) -> list[Flaw]:
    with np.errstate(invalid="ignore"):
        early = known & (seconds < 0) & np.isfinite(seconds)
        late = known & (seconds > LATEST) & np.isfinite(seconds)
    flaws = _flaw(early, column, "the time is negative, which is before 1970", _ISO_REMEDY)
    for unit, scale in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        of_unit = late & (seconds / scale <= LATEST) & (seconds / scale >= _EARLY)
        flaws += _flaw(
            of_unit, column, f"the time looks like {unit}; times are Unix seconds",
            f"Divide the column by {scale:,.0f} first",
        )  # fmt: skip
        late = late & ~of_unit
    return flaws + _flaw(late, column, "the time is after the year 2200", _ISO_REMEDY)


def _numbers(text: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of text, float64 [n] (NaN where there is none), and where text is not a number."""
    try:
        plainly: NDArray[np.float64] = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return plainly, np.zeros(len(text), bool)
    except pa.ArrowInvalid:  # some text is not: Polars says which
        series = pl.Series(pl.from_arrow(text))
    numbers = series.cast(pl.Float64, strict=False)
    if numbers.null_count() > series.null_count():
        numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
    unreadable = (numbers.is_null() & series.is_not_null()).to_numpy()
    return numbers.fill_null(np.nan).to_numpy(writable=True), unreadable


def _iso_seconds(text: pa.Array) -> NDArray[np.float64]:
    """Unix seconds of ISO 8601 text, NaN where it is not."""
    # Arrow reads a column that is all naive, or all with a zone, at once; a mixture or a bad value
    # makes it fail, and then each distinct text is read alone.
    for target in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return _ticks(text.cast(target)) / 1e6
        except pa.ArrowInvalid:
            continue
    encoded = text.dictionary_encode()
    seconds = np.array([_iso_second(each) for each in encoded.dictionary.to_pylist()], np.float64)
    of_each: NDArray[np.float64] = seconds[encoded.indices.to_numpy(zero_copy_only=False)]
    return of_each


def _iso_second(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _ticks(values: pa.Array) -> NDArray[np.float64]:
    ticks: NDArray[np.float64] = (
        values.cast(pa.int64()).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    )
    return ticks


def _flaw(rows: NDArray[np.bool_], column: str, problem: str, remedy: str) -> list[Flaw]:
    return [Flaw(rows, column, problem, remedy)] if rows.any() else []
