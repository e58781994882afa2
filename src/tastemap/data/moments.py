"""Moments of asking over histories that they share: an event's history is a view, not a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import DataError

__all__ = ["Moments"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Who asks when, and which events of some shared histories were known then.

    Attributes:
        users: int32 [B], user rows; 0 for a stranger.
        histories: events, whose rows need not be those of the moments.
        start, stop: int64 [B]: of moment i the events start[i]:stop[i] of `histories` are known.
            All of them are earlier than `as_of`: what happens at the same time is not known.
        as_of: float64 [B], Unix seconds; inf means now.
        profile: user attributes, or None.
        profile_rows: int64 [B], the row of `profile` that each moment has.
        context: the circumstances of each request, B rows, or None.
    """

    users: NDArray[np.int32]
    histories: Histories
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    as_of: NDArray[np.float64]
    profile: pl.DataFrame | None
    profile_rows: NDArray[np.int64]
    context: pl.DataFrame | None

    @classmethod
    def of(cls, queries: Queries) -> Moments:
        """The moments of queries; what of their histories is not earlier is left out."""
        h = queries.histories
        earlier = h.times < np.repeat(queries.as_of, h.counts)
        running = np.concatenate([[0], np.cumsum(earlier, dtype=np.int64)])
        start = h.offsets[:-1]
        return cls(
            queries.users,
            h,
            start,
            # Histories are sorted by time.
            start + running[h.offsets[1:]] - running[start],
            queries.as_of,
            queries.profile,
            np.arange(len(queries)),
            queries.context,
        )

    @classmethod
    def before_events(cls, dataset: Dataset, events: NDArray[np.int64]) -> Moments:
        """The moment just before each of some events [B] of a data set, given by their places in
        its histories.

        Raises:
            DataError: the data set has no times.
        """
        if not dataset.has_times:
            raise DataError(
                "what was known before an event needs the times of events, and this data set has "
                "none",
                remedy="Map a time column",
            )
        h = dataset.histories
        owner = h.rows_of_events()
        place = np.arange(h.n_events)
        first = np.ones(h.n_events, np.bool_)
        first[1:] = (h.times[1:] != h.times[:-1]) | (owner[1:] != owner[:-1])
        first_of_time = np.maximum.accumulate(np.where(first, place, 0))
        users = owner[events]
        context = dataset.context
        return cls(
            users,
            h,
            h.offsets[users],
            first_of_time[events],
            h.times[events],
            dataset.profiles(np.arange(len(dataset.users))),
            users.astype(np.int64),
            None if context is None else context[events],
        )

    @classmethod
    def at(
        cls,
        dataset: Dataset,
        users: NDArray[np.int32],
        as_of: NDArray[np.float64],
        context: pl.DataFrame | None = None,
    ) -> Moments:
        """Moments [B] of users of a data set, with what each had done by then."""
        h = dataset.histories
        who = np.concatenate([h.rows_of_events(), users])
        when = np.concatenate([h.times, as_of])
        is_event = np.arange(len(who)) < h.n_events
        # Events are sorted by user and time already, so that the events before a moment in this
        # order are those of `histories` before its stop.
        order = np.lexsort((is_event, when, who))
        before = np.empty(len(order), np.int64)
        before[order] = np.cumsum(is_event[order])
        return cls(
            users,
            h,
            h.offsets[users],
            before[h.n_events :],
            as_of,
            dataset.profiles(np.arange(len(dataset.users))),
            users.astype(np.int64),
            context,
        )

    def followed_by(self, others: Moments) -> Moments:
        """These and others of the same data set behind them."""
        mine, theirs = self.context, others.context
        return Moments(
            np.concatenate([self.users, others.users]),
            self.histories,
            np.concatenate([self.start, others.start]),
            np.concatenate([self.stop, others.stop]),
            np.concatenate([self.as_of, others.as_of]),
            self.profile,
            np.concatenate([self.profile_rows, others.profile_rows]),
            None if mine is None or theirs is None else pl.concat([mine, theirs]),
        )

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[Any] | slice) -> Moments:
        """Some of the moments, in the order asked for; the histories stay shared."""
        return Moments(
            self.users[rows],
            self.histories,
            self.start[rows],
            self.stop[rows],
            self.as_of[rows],
            self.profile,
            self.profile_rows[rows],
            None if self.context is None else self.context[rows],
        )

    def queries(self) -> Queries:
        """The same with a history of its own for each, [B]."""
        return Queries(
            self.users,
            self.histories.parts(self.start, self.stop),
            self.as_of,
            None if self.profile is None else self.profile[self.profile_rows],
            self.context,
        )
