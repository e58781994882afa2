"""Items by what they are: the values that somebody without a history can choose from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.text import listed
from tastemap.errors import DataError

__all__ = ["Tastes"]

_NO_ITEMS = np.empty(0, np.int32)
# So many items stand for what somebody chose; more would be a history that nobody has.
_STAND_INS = 20


class Tastes:
    """The items of each value of the item table's columns.

    A column may hold one value (text, whole number, boolean) or several (a list, or text joined by
    "|") for an item; numbers with fractions have no values to choose.

    Attributes:
        columns: those that can be chosen from.
    """

    def __init__(self, data: Dataset) -> None:
        table = data.item_attributes()
        self._table = pl.DataFrame() if table is None else table
        self._counts = data.item_counts
        self._by_column: dict[str, dict[str, NDArray[np.int32]]] = {}
        self.columns = tuple(
            column
            for column, dtype in self._table.schema.items()
            if column != "item" and (isinstance(dtype, pl.List) or _has_values(dtype))
        )

    def items(self, chosen: Mapping[str, tuple[str, ...]]) -> NDArray[np.int32]:
        """The item rows that stand for what was chosen: those with the most of the values, the most
        popular first, 20 at most.

        Raises:
            DataError: the item table has no such column, or no item has the value.
        """
        found = [self._of_value(column, value) for column in chosen for value in chosen[column]]
        if not found:
            return _NO_ITEMS
        rows, matches = np.unique(np.concatenate(found), return_counts=True)
        return rows[np.lexsort((-self._counts[rows], -matches))][:_STAND_INS]

    def _of_value(self, column: str, value: str) -> NDArray[np.int32]:
        if column not in self.columns:
            known = ", ".join(self.columns) or "none"
            raise DataError(
                f"items have no such column to choose from (it has: {known})", column=column
            )
        if column not in self._by_column:
            self._by_column[column] = _rows_by_value(self._table[column])
        rows = self._by_column[column].get(value)
        if rows is None:
            raise DataError("no item has this value", column=column, value=value)
        return rows


def _has_values(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype in (pl.Utf8, pl.Categorical, pl.Boolean)


def _rows_by_value(column: pl.Series) -> dict[str, NDArray[np.int32]]:
    column = listed(column)
    frame = pl.DataFrame({"value": column, "row": np.arange(1, len(column) + 1, dtype=np.int32)})
    if isinstance(column.dtype, pl.List):
        frame = frame.explode("value")
    frame = frame.with_columns(pl.col("value").cast(pl.Utf8)).drop_nulls()
    return {
        str(value): group["row"].unique(maintain_order=True).to_numpy()
        for (value,), group in frame.group_by("value")
    }
