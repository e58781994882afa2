"""New items stand further up."""

from __future__ import annotations

import time
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tastemap.data.dataset import Dataset
from tastemap.errors import RuleError
from tastemap.policy.columns import item_times
from tastemap.policy.rule import Rule

__all__ = ["Born", "Freshness"]

_DAY = 86_400.0


class Freshness(Rule):
    """An item's rank is divided by 1 + strength · 0.5^(age / half-life), and the order made anew.

    Ranks and not scores are changed, so that it means the same for every model: with a strength of
    1 what is brand new goes from place 10 to about place 5, and after one half-life to place 7.
    The age is that at the moment of asking; what is not out yet is brand new, and an item without
    a date stays where it is. Several such rules multiply.
    """

    kind: ClassVar[str] = "freshness"
    momentary: ClassVar[bool] = True

    half_life_days: float = Field(
        gt=0, le=1e6, description="after how many days the boost is half as strong"
    )
    strength: float = Field(1.0, gt=0, le=1000, description="how strong the boost is at first")
    column: str | None = Field(
        None,
        description="the name of a column of dates, times or years; the first event of each item "
        "counts without one",
    )
    unit: Literal["time", "year"] = Field(
        "time", description='"time" for dates, ISO text and Unix seconds, "year" for years'
    )

    def on(self, data: Dataset) -> Born:
        """The rule at work on a data set.

        Raises:
            RuleError: there is no such column, it is of another type, or events have no times.
        """
        if self.column is not None:
            return Born(self, item_times(data, self.column, "column", self.unit))
        if not data.has_times:
            raise RuleError(
                "the events have no times, so none is an item's first",
                key="column",
                remedy="Name a column of the item table, or map a time column",
            )
        first = np.full(len(data.items), np.inf)
        np.minimum.at(first, data.histories.items, data.histories.times)
        return Born(self, np.where(np.isinf(first), np.nan, first))


class Born:
    """A boost at work.

    Args:
        rule: as declared.
        times: float64 [item rows], when each item came, in Unix seconds; NaN where nobody knows.
    """

    def __init__(self, rule: Freshness, times: NDArray[np.float64]) -> None:
        self._half_life = rule.half_life_days * _DAY
        self._strength = rule.strength
        self._times = times

    def divisors(self, items: NDArray[np.int32], as_of: NDArray[np.float64]) -> NDArray[np.float64]:
        """By what the rank of each item row [B, K] is divided at moments [B], float64 [B, K]."""
        now = np.where(np.isfinite(as_of), as_of, time.time())[:, None]
        age = np.maximum(now - self._times[items], 0.0)
        return 1.0 + self._strength * np.nan_to_num(0.5 ** (age / self._half_life), nan=0.0)
