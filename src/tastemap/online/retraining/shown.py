"""What the event log says that people were shown, as a data set that a ranker learns from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.impressions import IMPRESSION, POSITION
from tastemap.online.event_log import EventReader
from tastemap.online.events import Event, Position
from tastemap.online.tokens import TokenError, Tokens, item_hash

__all__ = ["shown_to"]


def shown_to(data: Dataset, events: EventReader, tokens: Tokens | None) -> Dataset | None:
    """The impressions and skips of the whole log, of users and items that a data set knows.

    Args:
        data: what people did.
        events: the log.
        tokens: read what the tokens of events say of the place at which an item stood; None where
            that is not to be known.

    Returns:
        With the context column "position"; None where nobody said what was shown.

    Raises:
        StateError: the log cannot be read.
    """
    found = list(_shown(events))
    users = data.users.rows([event.user for event in found])
    items = data.items.rows([event.item for event in found])
    known = (users > 0) & (items > 0)
    if not known.any():
        return None
    times = np.array([event.time for event in found])
    places = _places(found, tokens)
    return Dataset.from_events(
        data.users,
        data.items,
        users[known],
        items[known],
        times[known],
        kind_names=(IMPRESSION,),
        context=pl.DataFrame({POSITION: pl.Series(places[known]).replace(0, None)}),
    )


def _shown(events: EventReader) -> Iterator[Event]:
    for page in events.news(Position()):
        for event in page.events:
            if not event.is_history and math.isfinite(event.time):
                yield event


def _places(events: list[Event], tokens: Tokens | None) -> NDArray[np.int64]:
    """The place, from 1, at which the item of each event stood in the answer that it belongs to;
    0 where it does not say. An answer's items come with one token, which is read once."""
    read: dict[str, dict[int, int]] = {}
    places = np.zeros(len(events), np.int64)
    for row, event in enumerate(events):
        if tokens is None or event.token is None:
            continue
        if event.token not in read:
            try:
                hashes = tokens.read(event.token).items.tolist()
            except TokenError:
                hashes = []
            read[event.token] = {item: place for place, item in enumerate(hashes, start=1)}
        places[row] = read[event.token].get(item_hash(event.item), 0)
    return places
