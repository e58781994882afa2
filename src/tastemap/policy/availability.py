"""Only what is to be had."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tastemap.data.dataset import Dataset
from tastemap.policy.columns import item_numbers
from tastemap.policy.lists import Fixed
from tastemap.policy.rule import FilterRule

__all__ = ["Availability", "Stock"]


class Availability(FilterRule):
    """Only items come out whose column is true, or a number above 0; a missing value is neither.

    Without a column all are available until it is said otherwise (`Policy.set_available`).
    """

    kind: ClassVar[str] = "availability"
    momentary: ClassVar[bool] = True

    column: str | None = Field(
        None, description="the name of a column of truth values or of numbers in stock"
    )

    def on(self, data: Dataset) -> Stock:
        """The rule at work on a data set.

        Raises:
            RuleError: there is no such column, or it is of another type.
        """
        if self.column is None:
            return Stock(np.ones(len(data.items), np.bool_))
        return Stock(item_numbers(data, self.column, "column") > 0)


class Stock(Fixed):
    """What is available now."""

    def set(self, rows: NDArray[np.int32], available: bool) -> None:
        """Changes some item rows."""
        # A new array: an answer that is being made keeps what it began with.
        changed = self.allowed.copy()
        changed[rows] = available
        self.allowed = changed
