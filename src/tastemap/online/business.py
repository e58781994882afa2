"""What the answers are good for: items shown, and what users then did with them, by source."""

from __future__ import annotations

import sys
from collections import Counter as Tally
from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from tastemap.online.by_labels import by_labels
from tastemap.online.events import Event
from tastemap.online.tokens import Shown, TokenError, Tokens, item_hash

__all__ = ["Business"]

# An event without a token says nothing of an answer; a bad token is not ours; and one that is ours
# may come with an item that it has not shown.
_UNTOLD, _BAD, _NOT_SHOWN, _SHOWN = "none", "bad", "not_shown", "shown"


# By name the places from one index to before another.
_PLACES = (("1-3", 0, 3), ("4-10", 3, 10), ("later", 10, sys.maxsize))


class Business:
    """Impressions and clicks by source and by place, where a place is "1-3", "4-10" or "later".

    The rate of clicks is that of the sums over some time: a click comes after its impression, maybe
    to another worker, and a token holds no user, so nobody is followed.

    Args:
        registry: where the counters go.
        tokens: reads those of the events.
    """

    def __init__(self, registry: CollectorRegistry, tokens: Tokens) -> None:
        self._tokens = tokens
        self._impressions = by_labels(
            Counter(
                "tastemap_impressions",
                "Items in answers, by source and place.",
                ["source", "place"],
                registry=registry,
            )
        )
        self._clicks = Counter(
            "tastemap_clicks",
            "Events of items that an answer had shown, by the item's source and place there.",
            ["source", "place"],
            registry=registry,
        )
        self._told = Counter(
            "tastemap_event_tokens",
            "Events recorded, by their token: shown (the answer held the item), not_shown, bad "
            "(not given by this service), or none.",
            ["result"],
            registry=registry,
        )
        for result in (_UNTOLD, _BAD, _NOT_SHOWN, _SHOWN):
            self._told.labels(result)

    def shown(self, sources: Sequence[str], before: int = 0) -> None:
        """Counts the items of an answer, by the source of each, after `before` on earlier pages."""
        for place, start, stop in _PLACES:
            some = sources[max(start - before, 0) : max(stop - before, 0)]
            for source in set(some):
                self._impressions(_family(source), place).inc(some.count(source))

    def recorded(self, events: Sequence[Event]) -> None:
        """Counts events that were recorded, each once."""
        read: dict[str, Shown | None] = {}
        told = Tally(self._look(event, read) for event in events)
        for result, n in told.items():
            self._told.labels(result).inc(n)

    def _look(self, event: Event, read: dict[str, Shown | None]) -> str:
        if event.token is None:
            return _UNTOLD
        if event.token not in read:
            try:
                read[event.token] = self._tokens.read(event.token)
            except TokenError:
                read[event.token] = None
        shown = read[event.token]
        if shown is None:
            return _BAD
        places = np.flatnonzero(shown.items == item_hash(event.item))
        if len(places) == 0:
            return _NOT_SHOWN
        if event.is_history:
            place = int(places[-1])
            self._clicks.labels(_family(shown.sources[place]), _place(place)).inc()
        return _SHOWN


def _family(source: str) -> str:
    """The source without its group: there may be one of them for each value of a column."""
    return source.partition(":")[0]


def _place(index: int) -> str:
    return next(place for place, _, stop in _PLACES if index < stop)
