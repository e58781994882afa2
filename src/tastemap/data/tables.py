"""Tables of what is known about users and items beside their events."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from tastemap.data.chunks import frame_columns
from tastemap.data.files import read_table
from tastemap.data.names import recognise
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError

__all__ = ["side_table"]


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


def _as_polars(frame: Any) -> pl.DataFrame:
    frame_columns(frame)  # refuses what is no frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    return pl.DataFrame(frame if isinstance(frame, pa.Table) else pa.table(frame))
