"""The circumstances of events and requests as numbers: which value of each column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.labels import label, labels, quintiles
from tastemap.errors import ParameterError, did_you_mean

__all__ = ["Circumstances", "chosen_columns", "events_among"]


def chosen_columns(dataset: Dataset, text: str, owner: str) -> list[str]:
    """The columns of the events' context that a text names, joined by commas; "" for all.

    Raises:
        ParameterError: there is none of a name.
    """
    there = [] if dataset.context is None else dataset.context.columns
    named = [name.strip() for name in text.split(",") if name.strip()]
    for name in named:
        if name not in there:
            raise ParameterError(
                f"{owner}: the events have no context column {name!r}{did_you_mean(name, there)} "
                f"(they have: {', '.join(there) or 'none'}; --context COLUMN keeps one)"
            )
    return named or there


class Circumstances:
    """Some columns of the events' context, whose values are told apart.

    Numbers of many values are told apart by their quintiles.

    Attributes:
        columns: their names; those that hold neither text nor numbers are left out.
        values: of each column, in rising order.
        of_events: int64 [events, columns], 1 + the place of each event's value among `values`, and
            0 where there is none.
    """

    def __init__(self, dataset: Dataset, columns: Sequence[str]) -> None:
        self.columns: list[str] = []
        self.values: list[list[str]] = []
        self._edges: list[list[float] | None] = []
        self._places: list[dict[str, int]] = []
        codes: list[list[int]] = []
        for name in columns:
            assert dataset.context is not None
            series = dataset.context[name]
            edges = quintiles(series)
            told = labels(series, edges)
            if told is None:
                continue
            values = told.drop_nulls().unique().sort().to_list()
            places = {value: place for place, value in enumerate(values, 1)}
            self.columns.append(name)
            self.values.append(values)
            self._edges.append(edges)
            self._places.append(places)
            codes.append([0 if value is None else places[value] for value in told.to_list()])
        self.of_events = np.array(codes, np.int64).reshape(len(codes), dataset.n_events).T

    def of(self, context: pl.DataFrame | None, n: int) -> NDArray[np.int64]:
        """The same of n requests, int64 [n, columns]; 0 for values that no event has too."""
        codes = np.zeros((n, len(self.columns)), np.int64)
        for place, name in enumerate(self.columns):
            if context is not None and name in context.columns:
                told = (label(value, self._edges[place]) for value in context[name].to_list())
                codes[:, place] = [self._places[place].get(value or "", 0) for value in told]
        return codes

    def labels(self, codes: NDArray[np.int64]) -> tuple[str, ...]:
        """The values that codes, int64 [columns], stand for; "" for 0."""
        pairs = zip(self.values, codes.tolist(), strict=True)
        return tuple(values[code - 1] if code else "" for values, code in pairs)


def events_among(
    some: Histories, known: Histories, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which events of some histories [B] are among known ones [B] of the same people.

    Events are the same where row, item and time are.

    Args:
        chosen: bool, for each event of `known` whether it is looked for.

    Returns:
        bool, for each event of `some`: whether it is among the chosen ones; and among all.
    """
    n = some.n_events
    rows = np.concatenate([some.rows_of_events(), known.rows_of_events()])
    items = np.concatenate([some.items, known.items])
    times = np.concatenate([some.times, known.times])
    order = np.lexsort((times, items, rows))
    new = np.zeros(len(order), np.int64)
    for part in (rows[order], items[order], times[order]):
        new[1:] |= part[1:] != part[:-1]
    same = np.empty(len(order), np.int64)
    same[order] = np.cumsum(new)
    is_chosen, is_known = np.zeros((2, len(order) + 1), np.bool_)
    is_chosen[same[n:][chosen]] = True
    is_known[same[n:]] = True
    return is_chosen[same[:n]], is_known[same[:n]]
