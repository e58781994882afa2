"""A log of what people did, indexed: the one structure that everything learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.cores import core
from tastemap.data.histories import Histories, group_by_row
from tastemap.data.loading import Events, events_of_files, events_of_frame
from tastemap.data.names import ColumnNames
from tastemap.data.queries import Queries
from tastemap.data.tables import aligned, row_of, side_table
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions, item table, user table, and the vocabularies of both.

    Attributes:
        users: vocabulary of users, of those of the user table too; row 0 is the unknown user.
        items: vocabulary of items; row 0 is the unknown item.
        histories: the events of each user row (row 0 has none), sorted by (time, input order).
        kind_names: what the codes of `histories.kinds` mean.
        has_times: False where the input had no time column; all times are 0 then.
        context: further columns of the events, aligned with the events of `histories`, or None.
        item_table: attributes of items as given, with a column "item" of ids, or None.
        user_table: attributes of users as given, with a column "user" of ids, or None.
        n_rejected: rows of the input that were rejected and written to a file.
        weighted: whether the values hold weights of the events' kinds, so that a model that can
            weigh events does so without being asked.
    """

    users: Vocabulary
    items: Vocabulary
    histories: Histories
    kind_names: tuple[str, ...] = ("event",)
    has_times: bool = True
    context: pl.DataFrame | None = None
    item_table: pl.DataFrame | None = None
    user_table: pl.DataFrame | None = None
    n_rejected: int = 0
    weighted: bool = False

    @classmethod
    def from_events(
        cls,
        users: Vocabulary,
        items: Vocabulary,
        user_rows: NDArray[np.int32],
        item_rows: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
        values: NDArray[np.float32] | None = None,
        kinds: NDArray[np.uint8] | None = None,
        *,
        kind_names: Sequence[str] = ("event",),
        context: pl.DataFrame | None = None,
        item_table: pl.DataFrame | None = None,
        user_table: pl.DataFrame | None = None,
        n_rejected: int = 0,
        weighted: bool = False,
    ) -> Dataset:
        """A data set of checked columns [m] in input order; see `from_frame` for raw data."""
        m = len(user_rows)
        has_times = times is not None
        times = np.zeros(m) if times is None else times
        offsets, order = group_by_row(user_rows, times, len(users))
        return cls(
            users,
            items,
            Histories(
                offsets,
                item_rows[order],
                times[order],
                np.ones(m, np.float32) if values is None else values[order],
                np.zeros(m, np.uint8) if kinds is None else kinds[order],
            ),
            tuple(kind_names),
            has_times,
            None if context is None else context[order],
            item_table,
            user_table,
            n_rejected,
            weighted,
        )

    @property
    def n_users(self) -> int:
        """Users, without the row for the unknown."""
        return len(self.users) - 1

    @property
    def n_items(self) -> int:
        """Items, without the row for the unknown."""
        return len(self.items) - 1

    @property
    def n_events(self) -> int:
        return self.histories.n_events

    def __repr__(self) -> str:
        return f"Dataset({self.n_events:,} events, {self.n_users:,} users, {self.n_items:,} items)"

    @cached_property
    def fingerprint(self) -> str:
        """A hash (16 hex digits) of ids and events: equal data sets have equal fingerprints."""
        digest = hashlib.sha256()
        for vocabulary in (self.users, self.items):
            digest.update(repr(vocabulary.ids_array.type).encode())
            for buffer in _compact(vocabulary.ids_array).buffers():
                if buffer is not None:
                    digest.update(buffer)
        h = self.histories
        for array in (h.offsets, h.items, h.times, h.values, h.kinds):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(repr(self.kind_names).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """Events of each item row, int64 [item rows]."""
        return np.bincount(self.histories.items, minlength=len(self.items)).astype(np.int64)

    def to_frame(self) -> pl.DataFrame:
        """The events as columns user, item, time, value, kind and the context, by user and time."""
        h = self.histories
        frame = pl.DataFrame(
            {
                "user": pl.Series(self.users.take(h.rows_of_events())),
                "item": pl.Series(self.items.take(h.items)),
                "time": h.times,
                "value": h.values,
                "kind": pl.Series(
                    np.asarray(self.kind_names, dtype=object)[h.kinds], dtype=pl.Utf8
                ),
            }
        )
        return frame if self.context is None else pl.concat([frame, self.context], how="horizontal")

    def queries(self, user_rows: NDArray[Any] | None = None) -> Queries:
        """What to ask for these users (all by default) after all that is known of them."""
        if user_rows is None:
            user_rows = np.arange(1, len(self.users))
        rows = np.asarray(user_rows, np.int32)
        return Queries.of(self.histories.take(rows), users=rows, profile=self.profiles(rows))

    def profiles(self, user_rows: NDArray[Any]) -> pl.DataFrame | None:
        """The user table's rows for some user rows (nulls for those it does not hold)."""
        return aligned(self.user_table, "user", self.users, user_rows)

    def profile_of(self, attributes: Mapping[str, Any]) -> pl.DataFrame:
        """A stranger's profile, one row with the user table's columns; null where nothing is said.

        Raises:
            DataError: the user table has no such column, or the value is not of its type.
        """
        table = pl.DataFrame() if self.user_table is None else self.user_table.drop("user")
        return row_of(attributes, table.schema, "the user table has no such attribute")

    def context_of(
        self, circumstances: Mapping[str, Any], more: Mapping[str, pl.DataType] | None = None
    ) -> pl.DataFrame:
        """The context of one request, a row with the events' further columns, and with more whose
        types are given; null where nothing is said.

        Raises:
            DataError: there is no such column, or the value is not of its type.
        """
        of_events = {} if self.context is None else dict(self.context.schema)
        schema = pl.Schema({**(more or {}), **of_events})
        return row_of(circumstances, schema, "the events have no such column")

    def item_of(self, attributes: Mapping[str, Any]) -> pl.DataFrame:
        """What is said of an item, a row with the item table's columns but the id; null where
        nothing is said.

        Raises:
            DataError: the item table has no such column, or the value is not of its type.
        """
        table = pl.DataFrame() if self.item_table is None else self.item_table.drop("item")
        return row_of(attributes, table.schema, "the item table has no such column")

    def with_item_rows(self, items: Mapping[str, Mapping[str, Any]]) -> Dataset:
        """The same with rows of the item table for some items, by id as text, in place of those
        that it may have. Where there is no item table it stays so.

        Raises:
            DataError: there is no such column, or a value is not of its type (see `item_of`).
        """
        table = self.item_table
        if table is None or table.width == 1 or not items:
            return self
        ids = pl.Series("item", list(items), dtype=pl.String).cast(table["item"].dtype)
        rows = pl.concat([self.item_of(attributes) for attributes in items.values()])
        kept = table.filter(~pl.col("item").is_in(ids.implode()))
        return replace(self, item_table=pl.concat([kept, rows.insert_column(0, ids)]))

    @cached_property
    def liking_value(self) -> float:
        """The value of an event that says "I like this": the 90th percentile of all values.

        It is what an item counts in a history that is given as ids alone, where a model of ratings
        would take the usual value of 1 for the worst rating.
        """
        values = self.histories.values
        return float(np.quantile(values, 0.9)) if len(values) else 1.0

    @cached_property
    def _usual_values(self) -> dict[str, float]:
        h = self.histories
        of_kind = {name: h.values[h.kinds == code] for code, name in enumerate(self.kind_names)}
        return {name: float(np.median(values)) for name, values in of_kind.items() if len(values)}

    @cached_property
    def _usual_value(self) -> float:
        values = self.histories.values
        return float(np.median(values)) if len(values) else 1.0

    @property
    def usual_kind(self) -> str:
        """The kind of an event that does not say its kind."""
        return "view" if "view" in self.kind_names else self.kind_names[0]

    def usual_value(self, kind: str) -> float:
        """The median value of the events of a kind, or of all events where there is none of it."""
        return self._usual_values.get(kind, self._usual_value)

    def item_attributes(self) -> pl.DataFrame | None:
        """The item table aligned with the vocabulary: row i is about item row i+1."""
        return aligned(self.item_table, "item", self.items, np.arange(1, len(self.items)))

    def with_events(self, keep: NDArray[np.bool_]) -> Dataset:
        """The same users, items and tables with only the events where `keep` (bool [m]) holds."""
        context = None if self.context is None else self.context.filter(pl.Series(keep))
        return replace(self, histories=self.histories.select(keep), context=context)

    def filter(
        self,
        *,
        min_value: float | None = None,
        kinds: Sequence[str] | None = None,
        min_user_events: int = 0,
        min_item_events: int = 0,
    ) -> Dataset:
        """The events that pass, with vocabularies of only the users and items that are left.

        Values and kinds are looked at first, then the counts, again and again until every user and
        every item that is left has enough events.

        Raises:
            DataError: an unknown kind, or nothing is left.
        """
        h = self.histories
        keep = np.ones(h.n_events, bool)
        if min_value is not None:
            keep &= h.values >= min_value
        if kinds is not None:
            unknown = sorted(set(kinds) - set(self.kind_names))
            if unknown:
                raise DataError(f"unknown kind {unknown[0]!r}; there are {list(self.kind_names)}")
            keep &= np.isin(h.kinds, [self.kind_names.index(kind) for kind in kinds])
        keep = core(h, keep, len(self.items), min_user_events, min_item_events)
        if not keep.any():
            raise DataError("no event is left after filtering", remedy="Lower the thresholds")
        return self.with_events(keep)._compacted()

    def _compacted(self) -> Dataset:
        h = self.histories
        user_kept = np.flatnonzero(h.counts > 0)
        item_kept = np.flatnonzero(self.item_counts > 0)
        new_item = np.zeros(len(self.items), np.int32)
        new_item[item_kept] = np.arange(1, len(item_kept) + 1)
        offsets = np.concatenate([[0], h.offsets[user_kept], h.offsets[-1:]])
        return replace(
            self,
            users=Vocabulary(self.users.take(user_kept)),
            items=Vocabulary(self.items.take(item_kept)),
            histories=replace(h, offsets=offsets, items=new_item[h.items]),
        )

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        value: str | None = None,
        kind: str | None = None,
        context: Sequence[str] = (),
        items: Any = None,
        users: Any = None,
        weights: Mapping[str, float] | None = None,
        on_bad_rows: Literal["raise", "reject"] = "raise",
        rejects: str | Path | None = None,
    ) -> Dataset:
        """A data set from a pandas, Polars or Arrow frame of events, one a row.

        Args:
            user, item, time, value, kind: the columns' names. Usual names (user_id, movieId,
                timestamp, rating, event_type, …; `tastemap.data.names.SYNONYMS` lists them) are
                recognised. Only user and item must be there: without values each event counts 1,
                without times all are 0 and `has_times` is False.
            context: further columns to keep.
            items, users: tables of attributes (frames or files) with a column of ids.
            weights: what an event of each kind counts, as in {"view": 1, "purchase": 5}; where
                there is a value column too, the value is the product.
            on_bad_rows: "raise" at the first bad row, or "reject": write bad rows with reasons to
                `rejects` and warn with their number (`RejectedRowsWarning`, `n_rejected`).
            rejects: a .csv or .jsonl path.

        Ids are strings or integers; times are Unix seconds, ISO 8601 text or timestamps (UTC where
        they have no zone); values are finite numbers.

        Raises:
            DataError: naming row, column, value, and what to do.
        """
        names = ColumnNames(user, item, time, value, kind, tuple(context))
        events = events_of_frame(frame, names, weights, on_bad_rows, rejects)
        return cls._of_events(events, items, users, weights)

    @classmethod
    def from_files(
        cls,
        paths: str | Path | Sequence[str | Path],
        *,
        user: str | None = None,
        item: str | None = None,
        time: str | None = None,
        value: str | None = None,
        kind: str | None = None,
        context: Sequence[str] = (),
        items: Any = None,
        users: Any = None,
        weights: Mapping[str, float] | None = None,
        on_bad_rows: Literal["raise", "reject"] = "raise",
        rejects: str | Path | None = None,
    ) -> Dataset:
        """A data set from files of events: .csv, .tsv, .jsonl, .ndjson (also .gz), .parquet.

        Arguments and rules are those of `from_frame`. In CSV, ids that are all plain integers are
        integers. Rejected rows go beside the first file (`log.rejected.csv`) by default.

        Raises:
            DataError: naming file, row (counted from 1 without the header), column, value, and
                what to do.
        """
        names = ColumnNames(user, item, time, value, kind, tuple(context))
        events = events_of_files(paths, names, weights, on_bad_rows, rejects)
        return cls._of_events(events, items, users, weights)

    @classmethod
    def _of_events(
        cls, events: Events, items: Any, users: Any, weights: Mapping[str, float] | None
    ) -> Dataset:
        user_table = side_table(users, "user", events.users)
        # Who has a profile but no events yet is known too, and is answered by the profile.
        known = (
            events.users
            if user_table is None
            else events.users.extend(user_table["user"].to_arrow())
        )
        return cls.from_events(
            known,
            events.items,
            events.user_rows,
            events.item_rows,
            events.times,
            events.values,
            events.kinds,
            kind_names=events.kind_names,
            context=events.context,
            item_table=side_table(items, "item", events.items),
            user_table=user_table,
            n_rejected=events.n_rejected,
            weighted=weights is not None,
        )


def _compact(array: pa.Array) -> pa.Array:
    """A copy whose buffers hold just this array, so that hashing them hashes it alone."""
    return pa.concat_arrays([array, array.slice(0, 0)])
