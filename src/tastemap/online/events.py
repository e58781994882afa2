"""What a log of events holds, and what it tells to those who write and read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tastemap.data.impressions import is_taken
from tastemap.errors import TastemapError

__all__ = ["Event", "IdConflictError", "ItemChange", "News", "Position", "Recorded"]


class IdConflictError(TastemapError):
    """An event id came again with another content.

    Attributes:
        index: the position of the event in its batch.
    """

    def __init__(self, index: int, id_: str) -> None:
        self.index = index
        super().__init__(f"the event id {id_[:80]!r} was already used for another event")


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did, or was shown. Ids are external, as text.

    Attributes:
        time: Unix seconds.
        value: a rating, or the weight of the event's kind.
        id: the sender's own id of the event; the same id is never recorded twice.
        digest: a hash of what was sent under that id.
        duration: how many seconds it lasted, or None where nobody said.
        token: the token of the answer it belongs to, or None.
        context: the circumstances that the sender told, by column, in what JSON can hold, or None.
        offset: its number in the log; 0 for one that does not come from there.
    """

    user: str
    item: str
    kind: str
    time: float
    value: float
    id: str | None = None
    digest: bytes | None = None
    duration: float | None = None
    token: str | None = None
    context: Mapping[str, Any] | None = None
    offset: int = field(default=0, compare=False)

    @property
    def is_history(self) -> bool:
        """Whether it is something that the user did with the item (`is_taken`)."""
        return is_taken(self.kind)


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item that was announced, or taken away.

    Attributes:
        item: the external id.
        attributes: by column of the item table, in what JSON can hold; None where it was taken
            away.
    """

    item: str
    attributes: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: the events that are new, and how many were there already."""

    accepted: list[Event]
    duplicates: int


class Position(NamedTuple):
    """How far somebody has read a log.

    Attributes:
        offset: of the last event.
        forgotten: the number of the last forgetting.
        items: the number of the last change of an item.
    """

    offset: int = 0
    forgotten: int = 0
    items: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What a log tells behind a position: which items changed, whom to forget, and what to add.

    Attributes:
        position: where to read on.
        forgotten: keys (`EventReader.key`) of users all of whose earlier events are gone.
        events: in the order of their offsets.
        items: the last change of each item that changed.
    """

    position: Position
    forgotten: list[bytes]
    events: list[Event]
    items: list[ItemChange]
