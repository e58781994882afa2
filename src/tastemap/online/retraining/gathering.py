"""The data of a release with the events that were recorded since, as one data set."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, group_by_row
from tastemap.data.tables import cell_of
from tastemap.data.tombstones import without_users
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.errors import DataError
from tastemap.online.event_log import EventReader
from tastemap.online.events import Event, Position
from tastemap.storage import read_manifest

__all__ = ["Gathered", "forgotten_rows", "gather", "offset_of"]

# Histories hold kinds as uint8.
_MAX_KINDS = 256


@dataclass(frozen=True, eq=False)
class Gathered:
    """What there is to learn from now.

    Attributes:
        data: the release's data and the later events. Its vocabularies begin with the release's,
            so a row of the release means the same here.
        later: bool [events of `data`], those that the release has not learned from.
        position: how far the log was read.
        left_out: how many events, or circumstances of events that were taken, were not taken, by
            reason.
    """

    data: Dataset
    later: NDArray[np.bool_]
    position: Position
    left_out: dict[str, int]

    @property
    def n_later(self) -> int:
        """Events that the release has not learned from."""
        return int(self.later.sum())


def gather(
    data: Dataset,
    events: EventReader,
    offset: int,
    *,
    min_value: float | None = None,
    now: float | None = None,
) -> Gathered:
    """Joins a release's data and what the log holds after it.

    Nothing in the log is trusted. Users and items that the release does not know become known, an
    item with the attributes that it was announced with. An
    id that is no integer where the release's ids are integers, and a time or value that is not a
    finite number, are left out and counted, and so are circumstances in columns that the release's
    events do not have, or of another type than there. An event of the future counts as one of now,
    since it would else stand at the end of its user's history until its time has come. What was
    merely shown or passed over is no history. Users who were forgotten are not learned from; one
    who came back is somebody new, whose events are all in the log.

    Args:
        data: of the release.
        events: the log.
        offset: of the last event that the release has seen.
        min_value: events of a lower value are left out, as `tastemap train --min-value` does.
        now: Unix seconds; the clock's by default.

    Raises:
        StateError: the log cannot be read.
    """
    now = time.time() if now is None else now
    pages = events.news(Position(offset))
    first = next(pages, None)
    if first is None:
        return Gathered(data, np.zeros(data.n_events, np.bool_), Position(offset), {})
    if first.forgotten:
        data = without_users(data, forgotten_rows(data, first.forgotten, events))
    parts = _Parts(data, min_value, now)
    parts.add(events.returned(offset), later=False)
    parts.add(first.events)
    position = first.position
    gone: list[bytes] = []  # who was forgotten while this was reading
    for page in pages:
        parts.add(page.events)
        gone += page.forgotten
        position = page.position
    joined, later = parts.joined()
    if gone:
        rows = forgotten_rows(joined, gone, events)
        later = later[~np.isin(joined.histories.rows_of_events(), rows)]
        joined = without_users(joined, rows)
    joined = _with_announced(joined, events)
    return Gathered(joined, later, position, dict(+parts.left_out))


def _with_announced(data: Dataset, events: EventReader) -> Dataset:
    """With what the log says of items that people took since they were announced."""
    rows = {}
    for change in events.item_changes():
        if change.attributes and change.item in data.items:
            # They were checked against the item table of another release.
            with suppress(DataError):
                data.item_of(change.attributes)
                rows[change.item] = change.attributes
    return data.with_item_rows(rows)


def forgotten_rows(
    data: Dataset, keys: Collection[bytes], events: EventReader
) -> NDArray[np.int32]:
    """The rows, int32 [n], of users whom the log says to forget, by their keys."""
    if not keys:
        return np.empty(0, np.int32)
    wanted = frozenset(keys)
    ids = data.users.ids_array.to_pylist()
    rows = [row for row, id_ in enumerate(ids, start=1) if events.key(str(id_)) in wanted]
    return np.array(rows, np.int32)


def offset_of(release: Path) -> int:
    """Of the last event of the log that a release has learned from; 0 where it saw none.

    Raises:
        ReleaseError: its manifest cannot be read.
    """
    return int(read_manifest(release).contents.get("event_log_offset", 0))


class _Parts:
    """The release's data, and events that are added behind."""

    def __init__(self, data: Dataset, min_value: float | None, now: float) -> None:
        self.data = data
        self.left_out: Counter[str] = Counter()
        self._min_value = min_value
        self._now = now
        self._users, self._items = _Growing(data.users), _Growing(data.items)
        self._kinds = {name: code for code, name in enumerate(data.kind_names)}
        h = data.histories
        self._rows = [h.rows_of_events()]
        self._columns = [h]
        self._later = [np.zeros(h.n_events, np.bool_)]
        self._context = _Context(data.context, self.left_out)

    def add(self, events: Sequence[Event], *, later: bool = True) -> None:
        """Adds what can be learned from of some events."""
        kept = list(self._kept(events))
        users = self._users.rows([event.user for event in kept])
        items = self._items.rows([event.item for event in kept])
        codes = [self._code(event.kind) for event in kept]
        told = (users > 0) & (items > 0)
        self.left_out["an id is no integer, and the release's are"] += int((~told).sum())
        self._rows.append(users[told])
        self._columns.append(
            Histories(
                np.zeros(1, np.int64),
                items[told],
                np.minimum(np.array([event.time for event in kept], np.float64), self._now)[told],
                np.array([event.value for event in kept], np.float32)[told],
                np.array(codes, np.uint8)[told],
            )
        )
        self._later.append(np.full(int(told.sum()), later))
        self._context.add([event.context for event, taken in zip(kept, told, strict=True) if taken])

    def _kept(self, events: Sequence[Event]) -> Iterator[Event]:
        for event in events:
            if not event.is_history:
                self.left_out[f"kind {event.kind}"] += 1
            elif not (math.isfinite(event.time) and math.isfinite(event.value)):
                self.left_out["time or value is not a finite number"] += 1
            elif self._min_value is not None and event.value < self._min_value:
                self.left_out[f"value below {self._min_value:g}"] += 1
            else:
                yield event

    def _code(self, name: str) -> int:
        # More kinds than fit are, as to the live state, events like any other.
        if name not in self._kinds and len(self._kinds) == _MAX_KINDS:
            return 0
        return self._kinds.setdefault(name, len(self._kinds))

    def joined(self) -> tuple[Dataset, NDArray[np.bool_]]:
        """All as one data set, and which of its events came later."""
        users = self._users.vocabulary()
        times = np.concatenate([part.times for part in self._columns])
        offsets, order = group_by_row(np.concatenate(self._rows), times, len(users))
        histories = Histories(
            offsets,
            np.concatenate([part.items for part in self._columns])[order],
            times[order],
            np.concatenate([part.values for part in self._columns])[order],
            np.concatenate([part.kinds for part in self._columns])[order],
        )
        context = self._context.joined()
        data = replace(
            self.data,
            users=users,
            items=self._items.vocabulary(),
            histories=histories,
            kind_names=tuple(self._kinds),
            context=None if context is None else context[order],
        )
        return data, np.concatenate(self._later)[order]


class _Context:
    """The circumstances of the release's events, and of those of the log, column by column.

    Args:
        known: of the release's events, or None.
        left_out: counts what is not taken.
    """

    def __init__(self, known: pl.DataFrame | None, left_out: Counter[str]) -> None:
        self._known = known
        self._left_out = left_out
        names = [] if known is None else known.columns
        self._columns: dict[str, list[Any]] = {name: [] for name in names}
        # Many events share few values, and to check one takes its time.
        self._cells: dict[tuple[str, str], tuple[bool, Any]] = {}

    def add(self, told: Sequence[Mapping[str, Any] | None]) -> None:
        """Adds the circumstances of some events, None where the log has none."""
        for context in told:
            for name, cells in self._columns.items():
                cells.append(None if context is None else self._cell(name, context.get(name)))
            strange = len(context.keys() - self._columns) if context else 0
            self._left_out["circumstance that the release's events do not have"] += strange

    def _cell(self, name: str, value: Any) -> Any:
        key = name, repr(value)
        if key not in self._cells:
            assert self._known is not None
            try:
                self._cells[key] = True, cell_of(name, value, self._known.schema[name])
            except DataError:
                self._cells[key] = False, None
        fits, cell = self._cells[key]
        self._left_out["circumstance of another type than in the release's events"] += not fits
        return cell

    def joined(self) -> pl.DataFrame | None:
        """Of all events, in the order in which they were added; None where the release has none."""
        if self._known is None:
            return None
        return pl.concat([self._known, pl.DataFrame(self._columns, schema=self._known.schema)])


class _Growing:
    """A vocabulary to which ids of the log are added."""

    def __init__(self, known: Vocabulary) -> None:
        self.known = known
        self._new: dict[Id, int] = {}

    def rows(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Rows of ids, int32 [n]; new ones are added, and those that cannot be have row 0."""
        rows = self.known.rows(texts)
        for place in np.flatnonzero(rows == 0).tolist():
            id_ = _as_integer(texts[place]) if self.known.is_integer else texts[place]
            if id_ is not None:
                rows[place] = self._new.setdefault(id_, len(self.known) + len(self._new))
        return rows

    def vocabulary(self) -> Vocabulary:
        type_ = pa.int64() if self.known.is_integer else pa.large_string()
        return self.known.extend(pa.array(list(self._new), type_))


def _as_integer(text: str) -> int | None:
    """The integer whose plain decimal text this is, where it fits 64 bits."""
    if len(text) > 20 or not text.removeprefix("-").isdecimal() or not text.isascii():
        return None
    number = int(text)
    return number if str(number) == text and -(2**63) <= number < 2**63 else None
