"""Items that the release does not hold yet: announced, shown to a share, and what became of them.

A release learns of an item by its events, and nobody takes what is never shown. So a share of the
places of answers goes to new items, by what is known of them.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.content.likeness import Likeness
from tastemap.data.masks import constant
from tastemap.data.queries import Queries
from tastemap.errors import DataError
from tastemap.online.catalogue import Catalogue, ItemCard
from tastemap.online.events import Event, ItemChange
from tastemap.online.questions import Ask, Suggestion
from tastemap.online.reasons import new_and_like
from tastemap.online.shelf import Shelf, cards_of
from tastemap.online.tokens import item_hash
from tastemap.pipeline.pipeline import Pipeline

__all__ = ["HeldItemError", "Newcomers", "new_places"]

log = logging.getLogger("tastemap.online")

SOURCE = "new"
# Of so many that fit somebody best, the one that fewest have met is shown.
_BEST = 10


class HeldItemError(DataError):
    """Attributes for an item that the release holds; they change with its item table."""


class Newcomers:
    """What the log tells of items that came or went since the release was made.

    Items change on one thread at a time, and the shelf, from which they are shown, is made anew
    behind that by `refresh`.

    Args:
        pipeline: of the release.
        catalogue: of its items.
        key: what stands for a user's id (`EventReader.key`).
        share: of the places of answers that they get.
        seed: of the draw that gives short lists their share.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        catalogue: Catalogue,
        key: Callable[[str], bytes],
        *,
        share: float,
        seed: int | None = None,
    ) -> None:
        self.share = share
        self._pipeline = pipeline
        self._catalogue = catalogue
        self._key = key
        self._draw = np.random.default_rng(seed)
        self._items: dict[str, Mapping[str, Any]] = {}
        self._available: NDArray[np.bool_] | None = None
        self._withdrawn = hashlib.blake2b(b"", digest_size=16).digest()
        self._met: Counter[str] = Counter()
        self._seen: dict[bytes, set[str]] = {}
        self._likeness: Likeness | None = None
        self._changes = 0
        self._shelved = 0
        self.shelf: Shelf | None = None

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __len__(self) -> int:
        """How many items there are that the release does not hold."""
        return len(self._items)

    @property
    def withdrawn(self) -> bytes:
        """What stands for the items of the release that were taken away: the same bytes in every
        process, and others wherever these are others."""
        return self._withdrawn

    @property
    def available(self) -> NDArray[np.bool_] | None:
        """bool [item rows], the items of the release that were not taken away, constant;
        None for all."""
        return self._available

    def card(self, item: str) -> ItemCard:
        """What is shown of an item that is among these."""
        return cards_of(self._pipeline.data, {item: self._items[item]})[0]

    def check(self, change: ItemChange) -> None:
        """Whether an item can be announced as it is.

        Raises:
            HeldItemError: the release holds it, and attributes are given. Without them it is
                accepted, and brings back what had been taken away.
            DataError: no such column, a value of another type, or an id that is no integer where
                those of the release are.
        """
        attributes = change.attributes or {}
        data = self._pipeline.data
        if change.item in data.items:
            if attributes:
                raise HeldItemError(
                    "the release holds this item, whose attributes change with its item table",
                    column="item",
                    remedy="Send it without attributes to bring back what was taken away",
                )
            return
        if data.items.is_integer and not _is_int64(change.item):
            raise DataError("must be an integer, as the ids of the release", column="item")
        data.item_of(attributes)

    def change(self, changes: Sequence[ItemChange]) -> None:
        """Takes up what became of items."""
        if not changes:
            return
        rows = self._pipeline.items.rows([change.item for change in changes])
        for change, row in zip(changes, rows.tolist(), strict=True):
            if row:
                continue
            if change.attributes is None:
                self._items.pop(change.item, None)
            else:
                self._items[change.item] = change.attributes
            self._changes += 1
        held = {
            row: change.attributes is not None
            for change, row in zip(changes, rows.tolist(), strict=True)
            if row
        }
        if held:
            self._take_away(held)

    def _take_away(self, there: Mapping[int, bool]) -> None:
        """Says of some item rows whether they are there from now on."""
        # A new array: an answer that is being made keeps what it began with.
        n, before = len(self._pipeline.items), self._available
        available = np.ones(n, np.bool_) if before is None else before.copy()
        available[list(there)] = list(there.values())
        gone = np.flatnonzero(~available)
        self._available = constant(available) if len(gone) else None
        self._withdrawn = hashlib.blake2b(gone.tobytes(), digest_size=16).digest()

    def add(self, events: Sequence[Event]) -> None:
        """Takes note of who met which new item, were it only as an impression."""
        for event in events:
            if event.item in self._items:
                self._met[event.item] += 1
                if event.kind != "impression":
                    self._seen.setdefault(self._key(event.user), set()).add(event.item)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Drops what is known of some users, by their keys."""
        for key in keys:
            self._seen.pop(key, None)

    def neighbours(self, item: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Which known items are like a new one by what is known of it (`Shelf.neighbours`); none
        until it is on the shelf."""
        if self.shelf is None:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        return self.shelf.neighbours(item)

    def refresh(self) -> None:
        """Makes the shelf anew where items or rules have changed. It may take seconds."""
        changes, shelf = self._changes, self.shelf
        same_rules = shelf is None or shelf.rules is self._pipeline.rules
        if changes == self._shelved and same_rules:
            return
        if self._likeness is None:
            self._likeness = Likeness(self._pipeline.data)
        shelf = Shelf.of(self._pipeline, dict(self._items), self._likeness)
        if shelf.problem is not None and (self.shelf is None or self.shelf.problem is None):
            log.error("%s", shelf.problem)
        self.shelf, self._shelved = shelf, changes

    def join(
        self,
        asked: Sequence[Ask],
        queries_of: Callable[[Sequence[Ask]], Queries],
        answers: Sequence[Sequence[Suggestion]],
    ) -> list[list[Suggestion]]:
        """Answers, [B], in which some places have gone to new items.

        Of the ten that fit best, among those that the rules allow and the asker has neither met
        nor been shown, the ones come that fewest people have met: as events of any kind, or in
        answers of this process.

        Args:
            asked: the questions, [B].
            queries_of: what is known of those who ask some of them.
            answers: what the release says, [B].
        """
        shelf = self.shelf
        found = [list(answer) for answer in answers]
        places = [new_places(len(answer), self.share, self._draw.random()) for answer in found]
        rows = np.array([row for row, some in enumerate(places) if some], np.int64)
        if shelf is None or len(shelf) == 0 or len(rows) == 0:
            return found
        some = queries_of([asked[row] for row in rows.tolist()])
        scores, allowed = shelf.score(some), shelf.allowed(some)
        hashes = np.array([item_hash(item) for item in shelf.ids], np.uint32)
        for place, row in enumerate(rows.tolist()):
            ask, able = asked[row], allowed[place]
            if ask.shown is not None:
                able = able & ~np.isin(hashes, ask.shown)
            seen = set(ask.history)
            if ask.user is not None:
                seen |= self._seen.get(self._key(ask.user), set())
            fitting = [
                each
                for each in np.argsort(-scores[place], kind="stable").tolist()
                if able[each] and shelf.ids[each] not in seen and shelf.ids[each] in self._items
            ]
            self._place(found[row], places[row], shelf, some.slice(place, place + 1), fitting,
                        scores[place])  # fmt: skip
        return found

    def _place(
        self,
        answer: list[Suggestion],
        places: list[int],
        shelf: Shelf,
        query: Queries,
        fitting: list[int],
        scores: NDArray[np.float32],
    ) -> None:
        # What was pinned stays where it is.
        free = [place for place in places if answer[place].source != "pinned"]
        best = max(_BEST, len(free))
        fitting = sorted(fitting[:best], key=lambda each: self._met[shelf.ids[each]])
        rows = self._pipeline.items.rows([one.card.item for one in answer]).tolist()
        for place in free:
            others = [*rows[:place], *rows[place + 1 :]]
            each = shelf.first_under_caps(query, others, fitting)
            if each is None:
                continue
            fitting.remove(each)
            rows[place] = shelf.row(each)
            self._met[shelf.ids[each]] += 1
            near = int(shelf.nearest[each])
            label = self._catalogue.item(near).label if near else None
            answer[place] = Suggestion(
                shelf.cards[each], float(scores[each]), SOURCE, new_and_like(label)
            )


def new_places(k: int, share: float, draw: float) -> list[int]:
    """The places, from 0, of a list of k that go to new items.

    It is the last place of each block of 1 / share. What is left over is less than a block, and
    gets its last place with the probability that makes the share exact on average.

    Args:
        draw: uniform from [0, 1).
    """
    # So that 10 × 0.1 is one place, however it is rounded.
    steps = np.floor(np.arange(k + 1) * share + 1e-9)
    places: list[int] = np.flatnonzero(np.diff(steps)).tolist()
    if draw < k * share - steps[-1] - 1e-9:
        free = [place for place in range(k) if place not in places]
        places = sorted([*places, *free[-1:]])
    return places


def _is_int64(text: str) -> bool:
    try:
        number = int(text)
    except ValueError:
        return False
    return str(number) == text and -(2**63) <= number < 2**63
