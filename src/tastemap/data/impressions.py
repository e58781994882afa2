"""What was shown to whom, when and at which place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.columns import parse_positions
from tastemap.data.dataset import Dataset
from tastemap.data.histories import offsets_of, ranges
from tastemap.data.moments import Moments
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError

__all__ = ["IMPRESSION", "POSITION", "SKIP", "Impressions", "is_taken", "taken_and_shown"]

IMPRESSION = "impression"
"""The kind of an event that says that an item was shown."""

SKIP = "skip"
"""The kind of an event that says that an item was shown and passed over."""

POSITION = "position"
"""The context column of a log that says at which place, from 1, an item was shown."""

# Seconds without anything new on the screen, after which what is shown is another request.
_PAUSE = 60.0


@dataclass(frozen=True, eq=False)
class Impressions:
    """Requests of users of a data set, each with the items that it was answered with.

    Attributes:
        moments: [B], those of the first item shown.
        offsets: int64 [B+1]; request i was shown the slice offsets[i]:offsets[i+1] of `items`.
        items: int32 [m], item rows of the data set, in order within a request, without repeats.
        positions: int64 [m], the place, from 1, at which each was shown, and 0 where that is not
            known.
    """

    moments: Moments
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    positions: NDArray[np.int64]

    @classmethod
    def of(cls, log: Dataset, dataset: Dataset) -> Self:
        """What a log of things shown says to a data set.

        What one user was shown without a pause of a minute is one request. Left out are users and
        items that the data set does not know, and what was shown after its last event: what came of
        that is not known.

        Args:
            log: an event for each item shown; its context may have a column "position".
            dataset: what people did.

        Raises:
            DataError: log or data set has no times, or a position is no whole number from 1.
        """
        if not (log.has_times and dataset.has_times):
            raise DataError(
                "what came of an impression is found by time, and "
                f"{'the events have' if log.has_times else 'the impressions have'} no times",
                remedy="Map a time column",
            )
        h = log.histories
        users = _rows_in(dataset.users, log.users)[h.rows_of_events()]
        items = _rows_in(dataset.items, log.items)[h.items]
        last = dataset.histories.times.max(initial=-np.inf)
        kept = np.flatnonzero((users > 0) & (items > 0) & (h.times <= last))
        users, items, times = users[kept], items[kept], h.times[kept]
        begins = np.ones(len(kept), np.bool_)
        begins[1:] = (users[1:] != users[:-1]) | (np.diff(times) > _PAUSE)
        request, first = np.cumsum(begins) - 1, np.flatnonzero(begins)
        context = _context(dataset, log, kept[first])
        _, shown = np.unique(request << 32 | items, return_index=True)
        return cls(
            Moments.at(dataset, users[first], times[first], context),
            offsets_of(np.bincount(request[shown], minlength=len(first)).astype(np.int64)),
            items[shown],
            _positions(log)[kept[shown]],
        )

    def __len__(self) -> int:
        return len(self.moments)

    def rows_of_requests(self) -> NDArray[np.int64]:
        """The request that each item was shown in, int64 [m]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def take(self, rows: NDArray[Any]) -> Impressions:
        """Some of the requests, in the order asked for."""
        counts = np.diff(self.offsets)[rows]
        places = ranges(self.offsets[rows], counts)
        return Impressions(
            self.moments.take(rows),
            offsets_of(counts),
            self.items[places],
            self.positions[places],
        )


def is_taken(kind: str) -> bool:
    """Whether an event of a kind is something that somebody did with an item. What was merely
    shown, or passed over, is not: it would count as chosen, and be left out as seen."""
    return kind not in (IMPRESSION, SKIP)


def taken_and_shown(dataset: Dataset) -> tuple[Dataset, Dataset | None]:
    """What people did with items, and what they were merely shown, of a log that has both.

    Events of the kinds "impression" and "skip" are no part of a history (`is_taken`). Users and
    items stay those of the log.

    Returns:
        The data set without them, and a data set of them alone; None where there are none.

    Raises:
        DataError: nobody did anything.
    """
    kinds = np.array([is_taken(name) for name in dataset.kind_names], np.bool_)
    shown = ~kinds[dataset.histories.kinds]
    if not shown.any():
        return dataset, None
    if shown.all():
        raise DataError(
            "all events say what was shown, and none what was taken of it",
            remedy="Give the clicks, views or purchases too",
        )
    taken, names = dataset.with_events(~shown), np.flatnonzero(kinds)
    codes = np.searchsorted(names, taken.histories.kinds).astype(np.uint8)
    return (
        replace(
            taken,
            histories=replace(taken.histories, kinds=codes),
            kind_names=tuple(dataset.kind_names[name] for name in names),
        ),
        dataset.with_events(shown),
    )


def _rows_in(known: Vocabulary, ids: Vocabulary) -> NDArray[np.int32]:
    """The row that each row of another vocabulary has; 0 where it is not known."""
    return np.concatenate([np.zeros(1, np.int32), known.rows(ids.ids_array)])


def _positions(log: Dataset) -> NDArray[np.int64]:
    """Of all events of a log, int64 [m]."""
    if log.context is None or POSITION not in log.context.columns:
        return np.zeros(log.n_events, np.int64)
    values = log.context[POSITION]
    positions, flaws = parse_positions(values.to_arrow(), POSITION)
    for flaw in flaws:
        value = values[int(flaw.rows.argmax())]
        raise DataError(flaw.problem, column=POSITION, value=value, remedy=flaw.remedy)
    return positions


def _context(dataset: Dataset, log: Dataset, events: NDArray[np.int64]) -> pl.DataFrame | None:
    """What a log says, at some of its events, of the circumstances that a data set knows."""
    if dataset.context is None:
        return None
    said = pl.DataFrame() if log.context is None else log.context[events]
    return pl.DataFrame(
        [
            said[name].cast(dtype, strict=False)
            if name in said.columns
            else pl.Series(name, [None] * len(events), dtype)
            for name, dtype in dataset.context.schema.items()
        ]
    )
