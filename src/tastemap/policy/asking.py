"""What rules look at of a query: columns of its profile and of its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import RuleError, did_you_mean

__all__ = ["Condition", "Place", "is_one_of", "misfit"]


@dataclass(frozen=True)
class Place:
    """A column of the profile or of the context of a query.

    Attributes:
        part: which of the two.
        column: the column's name.
    """

    part: Literal["profile", "context"]
    column: str

    @classmethod
    def of(cls, text: str, data: Dataset, key: str) -> Self:
        """The place that "profile.age" or "context.age" names.

        A profile has the columns of the user table; what a context has is for those who ask.

        Raises:
            RuleError: neither of these, or a column that the user table lacks.
        """
        part, _, column = text.partition(".")
        if part not in ("profile", "context") or not column:
            raise RuleError(
                f"{text!r} is no place of a query",
                key=key,
                remedy='Write "profile.COLUMN" for what the user table says, or "context.COLUMN" '
                "for what comes with a request",
            )
        place = cls("profile" if part == "profile" else "context", column)
        if place.part == "profile":
            known = [] if data.user_table is None else data.user_table.columns[1:]
            if column not in known:
                raise RuleError(
                    f"the user table has no column {column!r}{did_you_mean(column, known)} "
                    f"(it has: {', '.join(known) or 'none'})",
                    key=key,
                    remedy="Name one of its columns, or give a user table with this one",
                )
        return place

    def values(self, queries: Queries) -> pl.Series | None:
        """What queries [B] say there; None where none of them says anything."""
        frame = queries.profile if self.part == "profile" else queries.context
        if frame is None or self.column not in frame.columns:
            return None
        return frame[self.column]

    def numbers(self, queries: Queries) -> NDArray[np.float64]:
        """What queries say there, float64 [B]; NaN where it is missing or no number."""
        values = self.values(queries)
        if values is None or not (values.dtype.is_numeric() or values.dtype == pl.String):
            return np.full(len(queries), np.nan)
        numbers: NDArray[np.float64] = values.cast(pl.Float64, strict=False).to_numpy()
        return numbers


@dataclass(frozen=True)
class Condition:
    """That a query says certain things of itself; see `Rule.when`."""

    wanted: tuple[tuple[Place, tuple[Any, ...]], ...]

    @classmethod
    def of(cls, when: Mapping[str, Sequence[Any]], data: Dataset) -> Self:
        """The condition of a rule.

        Raises:
            RuleError: a place that is none, no value, or values of another type than the user
                table's or the events' column.
        """
        wanted = []
        for text, values in when.items():
            place = Place.of(text, data, "when")
            if not values:
                raise RuleError(
                    f"{text!r} has no value", key="when", remedy="Give the values to look for"
                )
            table = data.user_table if place.part == "profile" else data.context
            if table is not None and place.column in table.columns:
                column = table[place.column]
                if (wrong := misfit(column, values)) is not None:
                    raise RuleError(
                        f"{wrong!r} is not of the type of {text!r}, which is {column.dtype}",
                        key="when",
                        remedy="Write text in quotes, and numbers without",
                    )
            wanted.append((place, tuple(values)))
        return cls(tuple(wanted))

    def columns(self) -> dict[Place, pl.DataType]:
        """The places that it looks at, with a type that holds what it looks for."""
        return {place: pl.Series(values, strict=False).dtype for place, values in self.wanted}

    @property
    def always(self) -> bool:
        """Whether nothing is asked."""
        return not self.wanted

    def holds(self, queries: Queries) -> NDArray[np.bool_]:
        """For which queries, bool [B]."""
        found = np.ones(len(queries), np.bool_)
        for place, values in self.wanted:
            said = place.values(queries)
            if said is None:
                return np.zeros(len(queries), np.bool_)
            found &= is_one_of(said, values)
        return found


def is_one_of(column: pl.Series, values: Sequence[Any]) -> NDArray[np.bool_]:
    """Which rows of a column have one of some values, bool [n]; a null has none. Numbers are
    compared as numbers and all else as text, so that 1 is 1.0 and is not true."""
    if column.dtype.is_numeric():
        numbers = [float(each) for each in values if _is_number(each)]
        found = column.cast(pl.Float64).is_in(numbers)
    else:
        texts = [_text(each) for each in values]
        found = column.cast(pl.String, strict=False).is_in(texts)
    mask: NDArray[np.bool_] = found.fill_null(False).to_numpy()
    return mask


def misfit(column: pl.Series, values: Sequence[Any]) -> Any | None:
    """The first value that no row of a column's type can have, or None."""
    kind = column.dtype
    if kind.is_numeric():
        return next((each for each in values if not _is_number(each)), None)
    if kind == pl.Boolean:
        return next((each for each in values if not isinstance(each, bool)), None)
    if kind in (pl.String, pl.Categorical, pl.Enum):
        return next((each for each in values if not isinstance(each, str)), None)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
