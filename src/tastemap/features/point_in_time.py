"""Features of requests and their candidates, as far as they were known at the moment of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.data.dataset import Dataset
from tastemap.data.histories import offsets_of
from tastemap.data.impressions import POSITION
from tastemap.data.moments import Moments
from tastemap.data.queries import Queries
from tastemap.errors import NotFittedError, ParameterError
from tastemap.features.batch import FeatureBatch, Ragged
from tastemap.features.block import Block
from tastemap.features.clock import HOURS, WEEKDAYS, clock
from tastemap.features.item_events import ItemEvents
from tastemap.features.item_features import ItemFeatures
from tastemap.features.numbers import (
    item_numbers,
    like_rate,
    log_share,
    pair_numbers,
    source_numbers,
    user_numbers,
)
from tastemap.features.requests import RequestFeatures
from tastemap.features.schema import Schema
from tastemap.features.schema import Sequence as SequenceOf
from tastemap.features.tables import AttributeColumns
from tastemap.hyperparameters import Hyperparameters, assigned_by_fit, hyperparameter
from tastemap.kernels.affinities import Affinities, Known, affinities, last_items
from tastemap.kernels.event_totals import Totals

__all__ = ["PointInTime"]

_Asking = TypeVar("_Asking", bound=Queries | Moments)

_DAY = 86_400.0
_SEQUENCES = SequenceOf("history.items", "item"), SequenceOf("history.liked", "item")


class PointInTime(Hyperparameters):
    """What was known of a user, an item, the two together and the request when it was asked.

    The same code answers for training rows and for live requests. Nothing that happened at the
    moment of asking or later is looked at: of an item and of all items the events before it count
    (those of the data set and those that `add` brought later), of a user the events of the query's
    own history before it, so that strangers are served like users. Where `as_of` is inf, "now" is
    the moment of the last event known.

    Counts, times and shares are given as logarithms. Shares of likes are drawn to those of all
    (Laplace's rule of succession for these), a user's share of likes in a category to that of the
    user, as if by `prior` events.

    Features, by what their names begin with:
        user: the row, the profile's columns, events, likes, values, and seconds since the last.
        item: the row, the item table's columns, events until then and in two recent windows and
            their share of all events, likes, values, and the age.
        pair: for each categorical column of the item table the share of the user's events that had
            the candidate's categories, how well they were liked, seconds since the last; the cosine
            of the categories with those of the last items. With `repeats` the item itself is a
            category too, "itself".
        request: the context's columns but "position", and hour and weekday (UTC) where none is
            called so.
        source: each retriever's score and the logarithm of its rank.
        history: the last items, and the last liked ones (sequences of "item").
    """

    liking: float | None = hyperparameter(
        default=None, help="value from which an event is a like; none for the median of the data"
    )
    prior: float = hyperparameter(
        default=10.0, gt=0, help="events that a share of likes is drawn to the usual one by"
    )
    short_window: float = hyperparameter(default=7.0, gt=0, help="days of the shorter recent time")
    long_window: float = hyperparameter(default=30.0, gt=0, help="days of the longer recent time")
    last: int = hyperparameter(default=10, ge=1, help="last items that a candidate is compared to")
    length: int = hyperparameter(default=50, ge=1, help="items of the sequences")
    repeats: bool = hyperparameter(
        default=False, help="tell how often and when the user took the candidate itself, where "
        "people take the same things again"
    )  # fmt: skip

    sources: tuple[str, ...] = assigned_by_fit()
    _like_from: float = assigned_by_fit()
    _user_columns: AttributeColumns = assigned_by_fit()
    _item_columns: AttributeColumns = assigned_by_fit()
    _context_columns: AttributeColumns = assigned_by_fit()
    _schema: Schema = assigned_by_fit()

    def fit(self, dataset: Dataset, sources: Sequence[str] = ()) -> Self:
        """Counts the events of a data set and looks at its tables.

        Args:
            dataset: what is known; it may reach beyond the moments asked about.
            sources: names of the retrievers whose candidates will be asked about.

        Raises:
            ParameterError: the short window is longer than the long one.
        """
        if self.short_window > self.long_window:
            raise ParameterError("PointInTime: short_window must not exceed long_window")
        values = dataset.histories.values
        usual = float(np.median(values)) if len(values) else 1.0
        profile = None if dataset.user_table is None else dataset.user_table.drop("user")
        context = dataset.context
        if context is not None:
            # Of an item that was chosen, and not of a request, which has not been answered yet.
            context = context.drop(POSITION, strict=False)
        self._learn(
            tuple(sources),
            usual if self.liking is None else self.liking,
            AttributeColumns.of("user", profile),
            AttributeColumns.of("item", dataset.item_attributes()),
            AttributeColumns.of("request", context),
        )
        self._look_at(dataset)
        return self

    def _learn(
        self,
        sources: tuple[str, ...],
        like_from: float,
        user_columns: AttributeColumns,
        item_columns: AttributeColumns,
        context_columns: AttributeColumns,
    ) -> None:
        self.sources, self._like_from = sources, like_from
        self._user_columns, self._item_columns = user_columns, item_columns
        self._context_columns = context_columns

    def _look_at(self, dataset: Dataset) -> None:
        self._n_users, self._n_items = len(dataset.users), len(dataset.items)
        self._has_times = dataset.has_times
        self._events = ItemEvents(dataset.histories, self._n_items, self._like_from)
        about = dataset.item_attributes()
        if about is not None:
            # Nothing is known of the unknown item, row 0.
            about = pl.concat([about.clear(1), about])
        self._items = self._item_columns.encode(about, self._n_items)
        self._categories = self._item_columns.categories_of(self._items)
        if self.repeats:
            self._categories = _and_themselves(*self._categories)
        nobody, nothing = Queries.of(dataset.histories.slice(0, 0)), np.zeros(1, np.int64)
        empty = np.empty((0, len(self.sources)), np.float32)
        none = Candidates(nothing, np.empty(0, np.int32), empty, empty, self.sources)
        requests, items, pairs, _ = self._parts(Moments.of(nobody), none)
        blocks = requests, items.block, pairs
        self._schema = Schema(tuple(each for block in blocks for each in block.features))

    @property
    def schema(self) -> Schema:
        """The features.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(self, "_schema"):
            raise NotFittedError("PointInTime has not been fitted yet: call fit(data)")
        return self._schema

    def add(
        self, items: NDArray[np.int32], times: NDArray[np.float64], values: NDArray[np.float32]
    ) -> None:
        """Adds events [m] that came after those of `fit`, in any order."""
        self._events.add(items, times, values)

    def of(self, queries: Queries | Moments, candidates: Candidates) -> FeatureBatch:
        """The features of each candidate, in the order of `candidates.items`; see `apart`."""
        return self.apart(queries, candidates).joined()

    def apart(self, queries: Queries | Moments, candidates: Candidates) -> RequestFeatures:
        """The features of requests, of the items proposed, and of candidates in the order of
        `candidates.items`.

        Args:
            queries: [B].
            candidates: [B], of the sources named in `fit`.

        Raises:
            NotFittedError: before `fit`.
            ParameterError: other sources, or another number of queries than of candidates.
        """
        schema = self.schema
        if candidates.source_names != self.sources or len(candidates) != len(queries):
            raise ParameterError(
                f"the features of {self.sources} for {len(queries)} queries are asked for, with "
                f"candidates of {candidates.source_names} for {len(candidates)}"
            )
        queries = self._asked(queries)
        moments = Moments.of(queries) if isinstance(queries, Queries) else queries
        return RequestFeatures(schema, *self._parts(moments, candidates), candidates.offsets)

    def popularity(self, queries: Queries, candidates: Candidates) -> NDArray[np.float32]:
        """The feature "item.share" of each candidate, float32 [m], for the same as `apart`."""
        as_of, rows = self._asked(queries).as_of, candidates.rows_of_queries()
        counts = self._events.counts_until(candidates.items, as_of[rows])
        everything = self._events.counts_until(np.zeros(len(as_of), np.int32), as_of)
        return log_share(counts, everything[rows]).astype(np.float32)

    def _asked(self, queries: _Asking) -> _Asking:
        """As of now, where events have no times."""
        if self._has_times:
            return queries
        return replace(queries, as_of=np.full(len(queries), np.inf))

    def _parts(
        self, moments: Moments, candidates: Candidates
    ) -> tuple[Block, ItemFeatures, Block, NDArray[np.int64]]:
        """Features of the moments, of items, and of candidates; and the place of each candidate's
        item."""
        # Looked at first: what comes meanwhile makes another one.
        state = self._events.state
        h, n = moments.histories, len(moments)
        liked = h.values >= self._like_from
        known = Known(h.items, h.times, h.values, liked, moments.start, moments.stop)
        latest = self._events.last_before(moments.as_of)
        now = _moment_of_asking(moments, latest)
        # Recent is what came before the last event known: a service may not hear of new ones.
        windows = latest[:, None] - _DAY * np.array([self.short_window, self.long_window])
        overall = self._events.until(np.zeros(n, np.int32), moments.as_of, windows)
        items, rows, places = _once_each_moment(candidates, moments.as_of, now)
        until = moments.as_of

        def features_of(places: NDArray[np.int64]) -> Block:
            some, of = items[places], rows[places]
            found = self._events.until(some, until[of], windows[of])
            return Block.beside(self._of_items(some, found, overall.take(of), now[of]))

        current = (np.isinf(until) & (now == latest))[rows]
        fit = affinities(
            known,
            now,
            like_rate(overall),
            candidates.offsets,
            candidates.items,
            *self._categories,
            prior=self.prior,
            last=self.last,
        )
        return (
            Block.beside(self._of_moments(moments, known, now, overall, fit)),
            ItemFeatures(items, self._n_items, current, (state,), features_of),
            self._of_pairs(candidates, fit),
            places,
        )

    def _of_moments(
        self,
        moments: Moments,
        known: Known,
        now: NDArray[np.float64],
        overall: Totals,
        fit: Affinities,
    ) -> list[Block]:
        n, profile = len(moments), moments.profile
        if profile is None:
            about = self._user_columns.encode(None, n)
        else:
            about = self._user_columns.encode(profile, profile.height).take(moments.profile_rows)
        timed, hands = None, {}
        if self._has_times:
            hour, weekday = clock(now)
            timed = now
            hands = {"request.hour": (hour, HOURS), "request.weekday": (weekday, WEEKDAYS)}
        circumstances = self._context_columns.encode(moments.context, n)
        # What the events say of their hour goes before what the clock says (in UTC).
        for told in circumstances.features:
            hands.pop(told.name, None)
        everything = np.ones(len(known.items), np.bool_)
        sequences = tuple(
            Ragged(*last_items(known.items, wanted, known.start, known.stop, self.length))
            for wanted in (everything, known.liked)
        )
        return [
            Block.of_rows(n, {"user": (moments.users, self._n_users)}),
            Block.of_numbers(n, user_numbers(fit, overall, timed, self.prior)),
            about,
            circumstances,
            Block.of_rows(n, hands),
            Block(_SEQUENCES, n, sequences=sequences),
        ]

    def _of_items(
        self, items: NDArray[np.int32], found: Totals, overall: Totals, now: NDArray[np.float64]
    ) -> list[Block]:
        n, timed = len(items), now if self._has_times else None
        return [
            Block.of_rows(n, {"item": (items, self._n_items)}),
            Block.of_numbers(n, item_numbers(found, overall, timed, self.prior)),
            self._items.take(items),
        ]

    def _of_pairs(self, candidates: Candidates, fit: Affinities) -> Block:
        columns = [*self._item_columns.category_names, *(["itself"] if self.repeats else [])]
        numbers = pair_numbers(fit, columns, timed=self._has_times) | source_numbers(candidates)
        return Block.of_numbers(len(candidates.items), numbers)

    # -- saving ---------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], pa.Table]:
        """What is stored beside the hyper-parameters: a part of the manifest, and the columns. The
        events are counted anew when it is restored."""
        columns = [self._user_columns, self._item_columns, self._context_columns]
        frame = pl.concat([each.to_frame() for each in columns])
        about = {"sources": list(self.sources), "like_from": self._like_from}
        return about, frame.to_arrow(compat_level=pl.CompatLevel.oldest())

    @classmethod
    def restored(
        cls,
        dataset: Dataset,
        hyperparameters: Mapping[str, Any],
        about: Mapping[str, Any],
        columns: pa.Table,
    ) -> Self:
        """What `state` was taken from, for the events of a data set.

        Raises:
            KeyError, ParameterError: something is missing or unknown.
        """
        features = cls(**hyperparameters)
        frame = pl.from_arrow(columns)
        assert isinstance(frame, pl.DataFrame)
        features._learn(
            tuple(about["sources"]),
            float(about["like_from"]),
            *(AttributeColumns.from_frame(prefix, frame) for prefix in ("user", "item", "request")),
        )
        features._look_at(dataset)
        return features


def _moment_of_asking(moments: Moments, latest: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [B]; where it is inf the last event known: `latest`, or one of the history."""
    last = latest.copy()
    some = moments.stop > moments.start
    last[some] = np.maximum(last[some], moments.histories.times[moments.stop[some] - 1])
    return np.where(np.isfinite(moments.as_of), moments.as_of, last)


def _once_each_moment(
    candidates: Candidates, as_of: NDArray[np.float64], now: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """What is proposed to anybody, each item once for all queries of one moment: the items and a
    query of the moment, [n], and the place of each candidate among them, [m]."""
    moments = np.zeros(len(now), np.int64)
    # Most queries are of one moment.
    if (as_of != as_of[:1]).any() or (now != now[:1]).any():
        asked = np.unique(as_of, return_inverse=True)[1]
        known, at = np.unique(now, return_inverse=True)
        moments = asked * len(known) + at
    pairs = moments[candidates.rows_of_queries()] << 32 | candidates.items
    distinct, places = pairs, np.arange(len(pairs))
    if not (pairs[1:] > pairs[:-1]).all():
        distinct, places = np.unique(pairs, return_inverse=True)
    a_query = np.zeros(moments.max(initial=0) + 1, np.int64)
    a_query[moments] = np.arange(len(moments))
    return (distinct & 0xFFFFFFFF).astype(np.int32), a_query[distinct >> 32], places


def _and_themselves(
    offsets: NDArray[np.int64], categories: NDArray[np.int32], column_of: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Categories of item rows, as `AttributeColumns.categories_of` gives them, and a further column
    in which each item but the unknown is a category of its own."""
    items = np.arange(1, len(offsets) - 1)
    owner = np.concatenate([np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), items])
    order = np.argsort(owner, kind="stable")
    own = len(column_of) + items - 1
    column = column_of.max(initial=-1) + 1
    return (
        offsets_of(np.bincount(owner, minlength=len(offsets) - 1).astype(np.int64)),
        np.concatenate([categories, own])[order].astype(np.int32),
        np.concatenate([column_of, np.full(len(own), column)]).astype(np.int32),
    )
