"""The data of a release with the events that were recorded since, as one data set."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, group_by_row
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.online.events import Event

__all__ = ["NO_HISTORY", "Gathered", "gather"]

NO_HISTORY = frozenset({"impression", "skip"})
"""Kinds of events that are recorded and are not part of what a user did: to learn from what was
merely shown would teach a model its own answers."""

# Histories hold kinds as uint8.
_MAX_KINDS = 256


@dataclass(frozen=True, eq=False)
class Gathered:
    """What there is to learn from now.

    Attributes:
        data: the release's data and the later events. Its vocabularies begin with the release's,
            so a row of the release means the same here.
        later: bool [events of `data`], those that the release has not learned from.
        offset: of the newest event of the log that was looked at.
        left_out: how many events were not taken, by reason.
    """

    data: Dataset
    later: NDArray[np.bool_]
    offset: int
    left_out: dict[str, int]

    @property
    def n_later(self) -> int:
        """Events that the release has not learned from."""
        return int(self.later.sum())


def gather(
    data: Dataset,
    batches: Iterable[tuple[int, Sequence[Event]]],
    *,
    offset: int = 0,
    no_history: frozenset[str] = NO_HISTORY,
    min_value: float | None = None,
    now: float | None = None,
) -> Gathered:
    """Joins a release's data and what the log holds after it.

    Nothing in the log is trusted. Users and items that the release does not know become known. An
    id that is no integer where the release's ids are integers, and a time or value that is not a
    finite number, are left out and counted. An event of the future counts as one of now, since it
    would else stand at the end of its user's history until its time has come.

    Args:
        data: of the release.
        batches: events in the order of the log, as of `EventLog.since`.
        offset: of the last event that the release has seen.
        no_history: kinds to leave out.
        min_value: events of a lower value are left out, as `tastemap train --min-value` does.
        now: Unix seconds; the clock's by default.
    """
    now = time.time() if now is None else now
    users, items = _Growing(data.users), _Growing(data.items)
    kinds = {name: code for code, name in enumerate(data.kind_names)}
    left_out: Counter[str] = Counter()
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32], Histories]] = []
    for last, events in batches:
        offset = last
        kept = list(_kept(events, no_history, min_value, left_out))
        user_rows = users.rows([event.user for event in kept])
        item_rows = items.rows([event.item for event in kept])
        codes = [_code(kinds, event.kind) for event in kept]
        told = (user_rows > 0) & (item_rows > 0)
        left_out["an id is no integer, and the release's are"] += int((~told).sum())
        columns = Histories(
            np.zeros(1, np.int64),
            item_rows[told],
            np.minimum(np.array([event.time for event in kept], np.float64), now)[told],
            np.array([event.value for event in kept], np.float32)[told],
            np.array(codes, np.uint8)[told],
        )
        parts.append((user_rows[told], item_rows[told], columns))
    return _joined(data, users, items, tuple(kinds), parts, offset, +left_out)


def _kept(
    events: Sequence[Event],
    no_history: frozenset[str],
    min_value: float | None,
    left_out: Counter[str],
) -> Iterator[Event]:
    for event in events:
        if event.kind in no_history:
            left_out[f"kind {event.kind}"] += 1
        elif not (math.isfinite(event.time) and math.isfinite(event.value)):
            left_out["time or value is not a finite number"] += 1
        elif min_value is not None and event.value < min_value:
            left_out[f"value below {min_value:g}"] += 1
        else:
            yield event


def _code(kinds: dict[str, int], name: str) -> int:
    # More kinds than fit are, as to the live state, events like any other.
    if name not in kinds and len(kinds) == _MAX_KINDS:
        return 0
    return kinds.setdefault(name, len(kinds))


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


def _joined(
    data: Dataset,
    users: _Growing,
    items: _Growing,
    kinds: tuple[str, ...],
    parts: Sequence[tuple[NDArray[np.int32], NDArray[np.int32], Histories]],
    offset: int,
    left_out: Counter[str],
) -> Gathered:
    h = data.histories
    vocabulary = users.vocabulary()
    rows = np.concatenate([h.rows_of_events(), *(part[0] for part in parts)])
    columns = [h, *(part[2] for part in parts)]
    times = np.concatenate([each.times for each in columns])
    offsets, order = group_by_row(rows, times, len(vocabulary))
    histories = Histories(
        offsets,
        np.concatenate([each.items for each in columns])[order],
        times[order],
        np.concatenate([each.values for each in columns])[order],
        np.concatenate([each.kinds for each in columns])[order],
    )
    joined = replace(
        data,
        users=vocabulary,
        items=items.vocabulary(),
        histories=histories,
        kind_names=kinds,
        context=None,
    )
    return Gathered(joined, np.asarray(order >= h.n_events), offset, dict(left_out))
