"""Frames of recommendations and truth, checked and turned into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.chunks import frame_columns
from tastemap.data.columns import parse_ids
from tastemap.data.names import recognise
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError
from tastemap.evaluation.background import FEATURE_COLUMNS, one_hot

__all__ = ["Pairs", "attributes", "ordered_lists", "read_pairs", "shared_rows"]

_NUMBERS = {
    "value": ("value", "rating"),
    "score": ("score", "prediction", "value", "rating"),
    "rank": ("rank",),
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Columns of users and items [n], and numbers (float64 [n]) by name: value, score, rank."""

    users: pl.Series
    items: pl.Series
    values: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.users)


def read_pairs(frame: Any, source: str, numbers: Sequence[str]) -> Pairs:
    """The pairs of a frame; `numbers` must be there, a rank and a score may be.

    Raises:
        DataError: not a frame, a missing column, or a value that is missing or not a number.
    """
    table = _as_polars(frame, source)
    values = {}
    for what, names in _NUMBERS.items():
        name = next((name for name in names if name in table.columns), None)
        if name is not None and (what in numbers or (what == name and what != "value")):
            values[what] = _numbers(table[name], name, source)
        elif what in numbers:
            raise DataError(
                f"there is no column {what!r} among {', '.join(table.columns) or 'none'}",
                source=source, column=what,
            )  # fmt: skip
    return Pairs(_ids(table, "user", source), _ids(table, "item", source), values)


def shared_rows(
    columns: Sequence[pl.Series | None],
) -> tuple[Vocabulary, list[NDArray[np.int32]]]:
    """One vocabulary of several columns of ids, in order of first appearance, and their rows."""
    arrays = []
    for column in columns:
        ids = pa.array([], pa.int64()) if column is None else column.to_arrow()
        encoded, flaws = parse_ids(ids, "id")
        for flaw in flaws:
            row = int(np.argmax(flaw.rows)) + 1
            raise DataError(flaw.problem, source="catalogue", row=row, remedy=flaw.remedy)
        arrays.append(encoded.dictionary_decode())
    if len({array.type for array in arrays if len(array)}) > 1:
        arrays = [array.cast(pa.large_string()) for array in arrays]
    joined = pa.concat_arrays([array for array in arrays if len(array)]).dictionary_encode()
    rows = joined.indices.to_numpy(zero_copy_only=False).astype(np.int32) + np.int32(1)
    ends = np.cumsum([len(array) for array in arrays])
    return Vocabulary(joined.dictionary), np.split(rows, ends[:-1])


def ordered_lists(
    given: Pairs,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    asked_for: NDArray[np.bool_],
    n_users: int,
    k: int,
) -> NDArray[np.int32]:
    """The first k items of the users with rows 1 to n_users, int32 [n_users, k], padded with 0.

    Raises:
        DataError: there is neither rank nor score, or a user has a rank twice.
    """
    kept = np.flatnonzero(asked_for)
    if "rank" in given.values:
        key = given.values["rank"][kept]
    elif "score" in given.values:
        key = -given.values["score"][kept]
    else:
        raise DataError(
            "there is neither a column 'rank' nor 'score'", source="recommendations",
            remedy="Add one, since the order of a frame's rows may be chance",
        )  # fmt: skip
    order = np.lexsort((key, users[kept]))
    rows = kept[order]
    owners = users[rows] - 1
    if "rank" in given.values:
        twice = (owners[1:] == owners[:-1]) & (key[order][1:] == key[order][:-1])
        if twice.any():
            row = int(rows[1:][np.argmax(twice)])
            raise DataError(
                "the user has this rank twice", source="recommendations", row=row + 1,
                column="rank", value=given.values["rank"][row],
            )  # fmt: skip
    starts = np.searchsorted(owners, np.arange(n_users))
    places = np.arange(len(rows)) - starts[owners]
    first = places < k
    lists = np.zeros((n_users, k), np.int32)
    lists[owners[first], places[first]] = items[rows[first]]
    return lists


def attributes(frame: Any, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """Features of items, float32 [item rows, d]; zeros for items that the frame does not hold.

    Raises:
        DataError: there is neither a column of categories nor one of numbers.
    """
    table = _as_polars(frame, "items")
    rows = vocabulary.rows(_ids(table, "item", "items").to_arrow())
    others = table.drop(recognise("item", table.columns) or "item")
    name = next((name for name in FEATURE_COLUMNS if name in others.columns), None)
    if name is not None:
        found = one_hot(others[name])[1:]
    else:
        numeric = others.select(pl.col(column) for column in others.columns
                                if others[column].dtype.is_numeric())  # fmt: skip
        if numeric.width == 0:
            raise DataError(
                f"there is neither a column of numbers nor one called "
                f"{', '.join(FEATURE_COLUMNS)} among {', '.join(others.columns) or 'none'}",
                source="items",
            )
        found = np.column_stack([_numbers(column, column.name, "items") for column in numeric])
    features = np.zeros((len(vocabulary), found.shape[1]), np.float32)
    features[rows] = found
    features[0] = 0.0
    return features


def _as_polars(frame: Any, source: str) -> pl.DataFrame:
    try:
        if isinstance(frame, pl.LazyFrame):
            return frame.collect()
        if isinstance(frame, pl.DataFrame):
            return frame
        frame_columns(frame)  # refuses what is no frame
        return pl.DataFrame(frame if isinstance(frame, pa.Table) else pa.table(frame))
    except DataError as error:
        raise DataError(error.problem, source=source, remedy=error.remedy) from None


def _ids(table: pl.DataFrame, role: Literal["user", "item"], source: str) -> pl.Series:
    name = recognise(role, table.columns)
    if name is None:
        raise DataError(
            f"there is no {role} column among {', '.join(table.columns) or 'none'}",
            source=source, column=role, remedy=f"Call the column of ids {role!r}",
        )  # fmt: skip
    ids = table[name]
    if len(ids):
        _, flaws = parse_ids(ids.to_arrow(), name)
        for flaw in flaws:
            row = int(np.argmax(flaw.rows))
            raise DataError(
                flaw.problem, source=source, row=row + 1, column=name, value=ids[row],
                remedy=flaw.remedy,
            )  # fmt: skip
    return ids


def _numbers(column: pl.Series, name: str, source: str) -> NDArray[np.float64]:
    numbers = column.cast(pl.Float64, strict=False)
    bad = numbers.is_null() | ~numbers.is_finite().fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(
            "not a finite number", source=source, row=row + 1, column=name, value=column[row]
        )
    return numbers.to_numpy()
