"""Allow and deny lists: by item, or by what the item table says."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import RuleError, did_you_mean
from tastemap.policy.asking import is_one_of, misfit
from tastemap.policy.columns import labels
from tastemap.policy.rule import Filter, FilterRule, Ids, Scalars

__all__ = ["Allow", "Deny", "Fixed", "row_of_item"]

# Among more ids nobody searches for one that is written alike.
_HINTS = 100_000


class Listed(FilterRule):
    """Items by their ids, by the values of a column, or both."""

    items: Ids = Field((), description="a list of item ids")
    column: str | None = Field(None, description="the name of a column of the item table")
    values: Scalars = Field((), description="a value of the column, or a list of them")
    separator: str | None = Field(
        None, min_length=1, description="what stands between several values in a text of the column"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.column is None) != (not self.values):
            raise RuleError(
                "a column and its values go together",
                key="column" if self.column is None else "values",
                remedy='Write column = "genres" and values = ["Horror"]',
            )
        if not self.items and self.column is None:
            raise RuleError("the rule lists nothing", remedy="Give items, or column and values")
        if self.separator is not None and self.column is None:
            raise RuleError("there is no column", key="separator", remedy="Name the column")
        return self

    def listed(self, data: Dataset) -> NDArray[np.bool_]:
        """bool [item rows], which items these are.

        Raises:
            RuleError: an unknown item, column or value.
        """
        found = np.zeros(len(data.items), np.bool_)
        found[[row_of_item(data, item, "items") for item in self.items]] = True
        if self.column is not None:
            offsets, numbers, known = labels(data, self.column, "column", self.separator)
            if (wrong := misfit(known, self.values)) is not None:
                raise RuleError(
                    f"{wrong!r} is not of the type of the column {self.column!r}, {known.dtype}",
                    key="values",
                    remedy="Write text in quotes, and numbers without",
                )
            for value in self.values:
                if not is_one_of(known, [value]).any():
                    hint = did_you_mean(str(value), known.cast(str).head(_HINTS))
                    raise RuleError(
                        f"no item has {value!r} in the column {self.column!r}{hint}",
                        key="values",
                        remedy="Correct it, or take it out",
                    )
            rows = np.repeat(np.arange(len(found)), np.diff(offsets))
            found[rows[is_one_of(known, self.values)[numbers]]] = True
        return found


class Deny(Listed):
    """These items never come out."""

    kind: ClassVar[str] = "deny"

    def on(self, data: Dataset) -> Fixed:
        """The rule at work on a data set."""
        return Fixed(~self.listed(data))


class Allow(Listed):
    """Nothing but these items comes out. Of several such rules an item has to be in all."""

    kind: ClassVar[str] = "allow"

    def on(self, data: Dataset) -> Fixed:
        """The rule at work on a data set."""
        return Fixed(self.listed(data))


class Fixed(Filter):
    """The same items for everybody.

    Args:
        allowed: bool [item rows].
    """

    def __init__(self, allowed: NDArray[np.bool_]) -> None:
        self.allowed = allowed

    def groups(self, queries: Queries) -> None:
        return None

    def mask(self, group: NDArray[np.float64]) -> NDArray[np.bool_]:
        return self.allowed


def row_of_item(data: Dataset, item: str | int, key: str) -> int:
    """The row of an item.

    Raises:
        RuleError: there is no such item.
    """
    row = int(data.items.rows([item])[0])
    if row == 0:
        ids = data.items.ids_array[:_HINTS].to_pylist()
        raise RuleError(
            f"there is no item {item!r:.80}{did_you_mean(str(item), map(str, ids))}",
            key=key,
            remedy="Correct its id, or take it out",
        )
    return row
