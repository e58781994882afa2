"""What lists are judged against beside the truth: the catalogue and its popularity in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.errors import ParameterError
from tastemap.metrics import Metric
from tastemap.metrics.ranking import distinct_pairs

__all__ = ["FEATURE_COLUMNS", "Background", "item_features", "one_hot"]

_NEEDS_TRAINING = {"novelty", "arp", "popularity_bias", "serendipity"}
FEATURE_COLUMNS = ("genres", "genre", "categories", "category", "tags")
_MAX_CATEGORIES = 10_000
_HEAD = 0.2


@dataclass(frozen=True, eq=False)
class Background:
    """The catalogue, as the metrics that look beyond accuracy need it.

    Attributes:
        n_items: size of the catalogue, without the row for the unknown.
        popularity: float64 [item rows], how many users have each item in the training data, or
            None where no training data are known.
        n_users: how many users have anything in the training data.
        features: float [item rows, d], what makes items alike or different, or None.
    """

    n_items: int
    popularity: NDArray[np.float64] | None = None
    n_users: int = 0
    features: NDArray[Any] | None = None

    @classmethod
    def of_events(
        cls,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        n_items: int,
        n_rows: int,
        features: NDArray[Any] | None = None,
    ) -> Background:
        """What training events [m] tell; a user who has an item twice counts once."""
        pairs = distinct_pairs(users, items)
        popularity = np.bincount(pairs & 0xFFFFFFFF, minlength=n_rows).astype(np.float64)
        return cls(n_items, popularity, int((np.bincount(users) > 0).sum()), features)

    @cached_property
    def popular(self) -> NDArray[np.bool_]:
        """bool [item rows]: the fifth of the catalogue with most users; lower rows win ties."""
        assert self.popularity is not None
        order = np.argsort(-self.popularity[1:], kind="stable") + 1
        popular = np.zeros(len(self.popularity), np.bool_)
        popular[order[: int(np.ceil(_HEAD * self.n_items))]] = True
        return popular

    def check(self, metrics: Sequence[Metric]) -> None:
        """Raises:
        ParameterError: a metric needs training data or features that are not there.
        """
        for metric in metrics:
            if metric.name in _NEEDS_TRAINING and self.popularity is None:
                raise ParameterError(f"{metric} needs the training data: give train=")
            if metric.name == "intra_list_diversity" and self.features is None:
                raise ParameterError(
                    f"{metric} needs something to tell items apart: give item_features= (an array "
                    "with a row for each item row, or the name of a column of the item table)"
                )


def item_features(
    train: Dataset, given: NDArray[Any] | str | None
) -> NDArray[np.float32] | NDArray[Any] | None:
    """Features of all items, float [item rows, d].

    Args:
        train: whose item table is looked at.
        given: an array, taken as it is; the name of a column of the item table, whose values become
            one column of 0 and 1 each (lists, and texts separated by "|", have several values); or
            None for the first column called genres, categories or tags, if there is one.

    Raises:
        ParameterError: an array of the wrong shape, or no such column.
    """
    if given is not None and not isinstance(given, str):
        features = np.asarray(given)
        if features.ndim != 2 or len(features) != len(train.items):
            raise ParameterError(
                f"item_features must have shape [{len(train.items)} item rows, d] (row 0 stands "
                f"for the unknown item), not {features.shape}"
            )
        return features
    table = train.item_attributes()
    columns = [] if table is None else table.columns
    if given is None:
        given = next((name for name in FEATURE_COLUMNS if name in columns), None)
        if given is None:
            return None
    if table is None or given not in columns:
        raise ParameterError(
            f"item_features: the item table has no column {given!r} "
            f"(it has: {', '.join(columns) or 'none'})"
        )
    return one_hot(table[given])


def one_hot(column: pl.Series) -> NDArray[np.float32]:
    """Columns of 0 and 1 for the values of a column; row i+1 is for the column's row i."""
    if column.dtype == pl.String:
        column = column.str.split("|")
    values = column.to_frame("value").with_row_index("row")
    if isinstance(column.dtype, pl.List):
        values = values.explode("value")
    values = values.drop_nulls().filter(pl.col("value").cast(pl.String) != "")
    codes = values["value"].rank("dense").to_numpy().astype(np.int64) - 1
    n = int(codes.max(initial=-1)) + 1
    if n > _MAX_CATEGORIES:
        raise ParameterError(
            f"item_features: the column has {n:,} different values; at most {_MAX_CATEGORIES:,} "
            "make sense as categories"
        )
    features = np.zeros((len(column) + 1, max(n, 1)), np.float32)
    features[values["row"].to_numpy() + 1, codes] = 1.0
    return features
