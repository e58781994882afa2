"""Values of a column as labels of groups; numbers of many values by their quintiles."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np
import polars as pl

__all__ = ["label", "labels", "quintiles"]

_BINS = 5


def quintiles(values: pl.Series) -> list[float] | None:
    """The inner bounds of five bins of about equal size, where values are numbers and many."""
    told = values.drop_nulls()
    if not told.dtype.is_numeric() or told.n_unique() <= 2 * _BINS:
        return None
    bounds = np.quantile(told.to_numpy(), np.arange(1, _BINS) / _BINS)
    return sorted({float(bound) for bound in np.ceil(bounds)})


def labels(values: pl.Series, edges: list[float] | None) -> pl.Series | None:
    """The label of each value: the value itself, or its bin such as "25–34"."""
    told = values.dtype in (pl.Utf8, pl.Categorical, pl.Boolean) or values.dtype.is_integer()
    if edges is None and not told:
        return None
    return pl.Series([label(value, edges) for value in values.to_list()], dtype=pl.Utf8)


def label(value: Any, edges: list[float] | None) -> str | None:
    if value is None:
        return None
    if edges is None:
        return str(value).lower() if isinstance(value, bool) else str(value)
    place = bisect_right(edges, float(value))
    if place == 0:
        return f"under {edges[0]:g}"
    if place == len(edges):
        return f"{edges[-1]:g} and over"
    return f"{edges[place - 1]:g}–{edges[place] - 1:g}"
