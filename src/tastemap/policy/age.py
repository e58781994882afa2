"""Only what is fit for the age of who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import RuleError
from tastemap.policy.asking import Place
from tastemap.policy.columns import item_column, item_numbers
from tastemap.policy.rule import Filter, FilterRule, Scalars

__all__ = ["AgeRating", "OfAge"]

_Years = Annotated[float, Field(ge=0, le=150)]


class AgeRating(FilterRule):
    """Only items come out whose minimal age the user has.

    It fails closed: whose age is missing or none is taken for 0 years old, and an item without a
    rating, or with one that `ages` does not hold, comes out for nobody unless `unrated` says from
    which age.
    """

    kind: ClassVar[str] = "age"

    column: str = Field(description="the name of a column of minimal ages, or of ratings")
    user: Scalars = Field(
        description='where the age stands, "profile.age" or "context.age"; of several places the '
        "first that says it"
    )
    ages: Mapping[str, _Years] = Field(
        default_factory=dict, description="the minimal age in years of each rating in the column"
    )
    unrated: _Years | None = Field(None, description="the minimal age of items without a rating")

    def on(self, data: Dataset) -> OfAge:
        """The rule at work on a data set.

        Raises:
            RuleError: there is no such column or place, or a rating is no age.
        """
        places = tuple(Place.of(str(text), data, "user") for text in self.user)
        if not places:
            raise RuleError("no place is named", key="user", remedy='Write user = "profile.age"')
        if self.ages:
            ratings = item_column(data, self.column, "column").cast(pl.String, strict=False)
            years = ratings.replace_strict(
                list(self.ages), list(self.ages.values()), default=None, return_dtype=pl.Float64
            )
            if years.null_count() == len(years):
                raise RuleError(
                    f"no item has one of these ratings in the column {self.column!r}",
                    key="ages",
                    remedy=f"It holds {', '.join(map(repr, ratings.drop_nulls().unique()[:8]))}",
                )
            least = np.concatenate([[np.nan], years.fill_null(np.nan).to_numpy()])
        else:
            least = item_numbers(data, self.column, "column")
            if (impossible := least[(least < 0) | (least > 150)]).size:
                raise RuleError(
                    f"the column {self.column!r} holds {impossible[0]:g}, which is no age",
                    key="column",
                    remedy="Give years from 0 to 150, or say what ratings mean with ages",
                )
        unrated = np.inf if self.unrated is None else self.unrated
        return OfAge(np.where(np.isnan(least), unrated, least), places)


class OfAge(Filter):
    """An age rating at work.

    Args:
        least: float64 [item rows], minimal ages in years.
        places: where a query says how old the user is.
    """

    def __init__(self, least: NDArray[np.float64], places: tuple[Place, ...]) -> None:
        self._places = places
        # A mask of a million items is made of small numbers in a tenth of the time.
        self._steps, step = np.unique(least, return_inverse=True)
        self._step = step.astype(np.min_scalar_type(len(self._steps)))

    def _ages(self, queries: Queries) -> NDArray[np.float64]:
        ages = np.full(len(queries), np.nan)
        for place in self._places:
            said = place.numbers(queries)
            usable = np.isnan(ages) & (said >= 0) & (said <= 150)
            ages[usable] = said[usable]
        return np.where(np.isnan(ages), 0.0, ages)

    def places(self) -> tuple[Place, ...]:
        return self._places

    def groups(self, queries: Queries) -> NDArray[np.float64]:
        steps = np.searchsorted(self._steps, self._ages(queries), side="right")
        return steps[:, None].astype(np.float64)

    def mask(self, group: NDArray[np.float64]) -> NDArray[np.bool_]:
        allowed: NDArray[np.bool_] = self._step < int(group[0])
        return allowed
