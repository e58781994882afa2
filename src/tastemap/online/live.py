"""What users did since the release's data was taken, laid over its histories."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, offsets_of
from tastemap.data.impressions import SKIP
from tastemap.data.tombstones import is_tombstone
from tastemap.online.events import Event

__all__ = ["SKIP_SECONDS", "LiveState"]

SKIP_SECONDS = 7 * 86_400.0
"""How long an item that a user has passed over stays out of their answers."""
_MOST_SKIPS = 500
# So many items that the release does not hold are kept of a user, the newest.
_MOST_NEW = 50


class _Extra(NamedTuple):
    """The events of one user in the order they came."""

    items: NDArray[np.int32]
    times: NDArray[np.float64]
    values: NDArray[np.float32]
    kinds: NDArray[np.uint8]

    def first(self, n: int) -> _Extra:
        return _Extra(self.items[:n], self.times[:n], self.values[:n], self.kinds[:n])


_NONE = _Extra(
    np.empty(0, np.int32), np.empty(0, np.float64), np.empty(0, np.float32), np.empty(0, np.uint8)
)


class _Skips(NamedTuple):
    """What one user has passed over."""

    items: NDArray[np.int32]
    times: NDArray[np.float64]


_NO_SKIPS = _Skips(np.empty(0, np.int32), np.empty(0, np.float64))


class LiveState:
    """The later events of each user, by user row, or by external id where the release has no row.

    A user who was forgotten has no row, whatever the release holds of them, and so begins anew.
    One thread at a time may change it, while others read: a user's events are replaced as a whole
    and never changed in place.

    Args:
        data: of the release.
        key: what stands for a user's id among those forgotten (`EventReader.key`).

    Attributes:
        skipped: events of items that the release does not hold; they are no part of histories.
    """

    def __init__(self, data: Dataset, key: Callable[[str], bytes]) -> None:
        self._data = data
        self._key = key
        self._extras: dict[int | str, _Extra] = {}
        self._skips: dict[int | str, _Skips] = {}
        self._new: dict[int | str, tuple[str, ...]] = {}
        self._offsets: dict[int | str, int] = {}
        self._forgotten: set[bytes] = set()
        self.skipped = 0

    @property
    def n_users(self) -> int:
        """Users with later events."""
        return len(self._extras)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Drops all that is known of some users, by their keys."""
        if not keys:
            return
        self._forgotten.update(keys)
        gone = set(keys)
        known = {*self._extras, *self._skips, *self._new}
        rows = [key for key in known if isinstance(key, int)]
        names = dict(zip(rows, map(str, self._data.users.ids(rows)), strict=True))
        for place in known:
            if self._key(place if isinstance(place, str) else names[place]) in gone:
                self._extras.pop(place, None)
                self._skips.pop(place, None)
                self._new.pop(place, None)
                self._offsets.pop(place, None)

    def is_forgotten(self, user: str) -> bool:
        """Whether what a release holds under this id counts for nothing."""
        if is_tombstone(user):
            return True
        return bool(self._forgotten) and self._key(user) in self._forgotten

    def rows(self, users: Sequence[str]) -> NDArray[np.int32]:
        """The user rows, int32 [B]; 0 for those whom the release does not know, or must not."""
        rows = self._data.users.rows(users)
        rows[[self.is_forgotten(user) for user in users]] = 0
        return rows

    def add(self, events: Sequence[Event]) -> None:
        """Lays what users did over the histories, and takes note of what they passed over."""
        self._skip([event for event in events if event.kind == SKIP])
        events = [event for event in events if event.is_history]
        items = self._data.items.rows([event.item for event in events])
        users = self.rows([event.user for event in events])
        mine: defaultdict[int | str, list[tuple[int, Event]]] = defaultdict(list)
        for event, item, user in zip(events, items.tolist(), users.tolist(), strict=True):
            if item:
                mine[user or event.user].append((item, event))
                continue
            self.skipped += 1
            # A value below the usual one is no like, and items like it would be none either.
            if event.value >= self._data.usual_value(event.kind):
                liked = self._new.get(user or event.user, ())
                self._new[user or event.user] = (*liked, event.item)[-_MOST_NEW:]
        for key, new in mine.items():
            old = self._extras.get(key, _NONE)
            self._extras[key] = _Extra(
                np.append(old.items, np.array([item for item, _ in new], np.int32)),
                np.append(old.times, np.array([event.time for _, event in new], np.float64)),
                np.append(old.values, np.array([event.value for _, event in new], np.float32)),
                np.append(old.kinds, np.array([self._kind(e.kind) for _, e in new], np.uint8)),
            )
            self._note(key, new[-1][1].offset)

    def _skip(self, events: Sequence[Event]) -> None:
        items = self._data.items.rows([event.item for event in events])
        users = self.rows([event.user for event in events])
        for event, item, user in zip(events, items.tolist(), users.tolist(), strict=True):
            if item:
                old = self._skips.get(user or event.user, _NO_SKIPS)
                self._skips[user or event.user] = _Skips(
                    np.append(old.items, np.int32(item))[-_MOST_SKIPS:],
                    np.append(old.times, event.time)[-_MOST_SKIPS:],
                )
                self._note(user or event.user, event.offset)

    def _note(self, key: int | str, offset: int) -> None:
        self._offsets[key] = max(offset, self._offsets.get(key, 0))

    def offsets(self, users: Sequence[str]) -> NDArray[np.int64]:
        """The offset of each user's newest event that answers go by, int64 [B]; 0 where there is
        none since the release."""
        keys = [row or user for row, user in zip(self.rows(users).tolist(), users, strict=True)]
        return np.array([self._offsets.get(key, 0) for key in keys], np.int64)

    def digests(self, users: Sequence[str]) -> list[bytes]:
        """For each of some users 16 bytes that stand for all that is known beside the release; they
        are others after each event that answers go by."""
        digests = []
        for user, row in zip(users, self.rows(users).tolist(), strict=True):
            digest = hashlib.blake2b(bytes([self.is_forgotten(user)]), digest_size=16)
            extra = self._extras.get(row or user, _NONE)
            for column in (*extra, *self._skips.get(row or user, _NO_SKIPS)):
                digest.update(len(column).to_bytes(8, "little"))
                digest.update(column.tobytes())
            digests.append(digest.digest())
        return digests

    def passed_over(self, users: Sequence[str], now: float) -> Histories | None:
        """The items that each of some users has passed over not long before `now`, [B]; None where
        nobody has."""
        if not self._skips:
            return None
        keys = [row or user for row, user in zip(self.rows(users).tolist(), users, strict=True)]
        skips = [self._skips.get(key, _NO_SKIPS) for key in keys]
        fresh = [each.items[each.times > now - SKIP_SECONDS] for each in skips]
        return Histories.from_lists(fresh) if any(map(len, fresh)) else None

    def _kind(self, name: str) -> int:
        # A kind that the release's data never had is, to its models, an event like any other.
        names = self._data.kind_names
        return names.index(name) if name in names else 0

    def n_later(self, user: str) -> int:
        """How many events of a user were laid over the release's."""
        return len(self._extras.get(int(self.rows([user])[0]) or user, _NONE).items)

    def histories(self, users: Sequence[str]) -> tuple[NDArray[np.int32], Histories]:
        """The user rows (0 for those the release does not know), int32 [B], and all that each of
        them did, the release's events and the later ones, sorted by time, [B]."""
        rows = self.rows(users)
        keys = [row or user for row, user in zip(rows.tolist(), users, strict=True)]
        return rows, self._laid_over(rows, [self._extras.get(key, _NONE) for key in keys])

    def histories_at(self, users: Sequence[str], n_later: Sequence[int]) -> Histories:
        """All that each of some users had done when so many of their events had been laid over the
        release's, [B]."""
        rows = self.rows(users)
        keys = [row or user for row, user in zip(rows.tolist(), users, strict=True)]
        extras = [
            self._extras.get(key, _NONE).first(n) for key, n in zip(keys, n_later, strict=True)
        ]
        return self._laid_over(rows, extras)

    def only_new(self, users: Sequence[str]) -> list[tuple[str, ...]]:
        """For each of some users who have no history, as they have taken nothing that the release
        holds, the items that they have taken and that it does not hold, the last 50, oldest first.
        None for others, and none of which an event says by its value that it was not liked."""
        if not self._new:
            return [()] * len(users)
        rows = self.rows(users)
        known = np.diff(self._data.histories.offsets[np.stack([rows, rows + 1])], axis=0)[0] > 0
        keys = [row or user for row, user in zip(rows.tolist(), users, strict=True)]
        return [
            () if held or key in self._extras else self._new.get(key, ())
            for key, held in zip(keys, known.tolist(), strict=True)
        ]

    def _laid_over(self, rows: NDArray[np.int32], extras: Sequence[_Extra]) -> Histories:
        base = self._data.histories.take(rows)
        if all(extra is _NONE for extra in extras):
            return base
        items, times, values, kinds = (
            np.concatenate(column) for column in zip(*extras, strict=True)
        )
        counts = np.array([len(extra.items) for extra in extras], np.int64)
        return base.append(Histories(offsets_of(counts), items, times, values, kinds))
