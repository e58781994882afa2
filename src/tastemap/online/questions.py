"""What the service is asked, and what it answers, in external ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import UnknownIdError
from tastemap.online.catalogue import ItemCard

__all__ = ["Ask", "Found", "Question", "SimilarTo", "Suggestion", "UnknownItemError"]


class UnknownItemError(UnknownIdError):
    """An item that the release does not hold.

    Attributes:
        index: its position in the list it came in.
    """

    def __init__(self, item: str, index: int) -> None:
        self.index = index
        super().__init__(f"unknown item: {item[:80]!r}")


@dataclass(frozen=True, slots=True)
class Ask:
    """What next for somebody, of whom this much is known?

    Attributes:
        k: how many items.
        user: the external id, known or not; None for a passer-by.
        history: items that they like, oldest first, beside what the release and the log know.
        profile: attributes as the user table has them; they go before what stands there.
        context: the circumstances, as the events' further columns have them.
        tastes: by column of the item table the values that they chose.
        friends: users whose histories may speak for somebody without one.
        shown: uint32, `item_hash` of what must not come again, sorted; None for nothing.
    """

    k: int
    user: str | None = None
    history: tuple[str, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    tastes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    friends: tuple[str, ...] = ()
    shown: NDArray[np.uint32] | None = None


@dataclass(frozen=True, slots=True)
class SimilarTo:
    """What is like this item?"""

    item: str
    k: int


Question = Ask | SimilarTo


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item of an answer."""

    card: ItemCard
    score: float
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """An answer.

    Attributes:
        items: best first.
        link: what it goes by: "history", "profile", "context", "friends" or "popularity"; "item"
            for what is similar to one; or "precomputed", for what was made in advance.
        release: the version of the release that found them.
        degraded: the stages that failed, without which it was made.
        unknown: items of the history in the question that neither the release nor the log knows.
    """

    items: list[Suggestion]
    link: str
    release: str
    degraded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
