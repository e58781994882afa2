"""What the service takes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tastemap.online.clock import now
from tastemap.online.events import Event
from tastemap.online.questions import Ask
from tastemap.online.tokens import MAX_TOKEN, Shown

__all__ = [
    "MAX_ID",
    "MAX_K",
    "USUAL_K",
    "AskBatch",
    "AskIn",
    "EventBatch",
    "EventIn",
    "ExternalId",
    "ItemBatch",
    "ItemIn",
    "Token",
]

MAX_K = 1000
USUAL_K = 10
MAX_ID = 256
MAX_BATCH = 10_000
MAX_ASKS = 1_000
# Clocks of senders run fast; but not by more than a day.
_FUTURE = 86_400.0


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_unicode(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, without lone surrogates") from None
    return value


ExternalId = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_as_unicode),
    Field(min_length=1, max_length=MAX_ID),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MAX_ID},
                {"type": "integer"},
            ]
        },
        mode="validation",
    ),
]
"""An id of a user, an item or an event: text, or a whole number, which means its decimal text."""


def _as_seconds(value: object) -> float:
    """Unix seconds of a number or of ISO 8601 text (UTC where it names no zone)."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp()
        except (ValueError, OverflowError):
            raise ValueError("must be Unix seconds or ISO 8601 text") from None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e300 else math.inf
    else:
        raise ValueError("must be Unix seconds or ISO 8601 text")
    if not 0 <= seconds <= now() + _FUTURE:
        raise ValueError(
            "must be Unix seconds from 0 to now, not milliseconds, and not in the future"
        )
    return seconds


Seconds = Annotated[
    float,
    BeforeValidator(_as_seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}),
]


Token = Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)]
Attribute = Annotated[str, Field(max_length=256)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class EventIn(BaseModel):
    """Something a user did, or was shown.

    Two kinds are no part of a user's history: an "impression" (the item was shown) and a "skip"
    (it was shown and not wanted). Both are kept in the log to learn from. A skipped item stays out
    of the user's answers for seven days. All other kinds ("view", "like", "purchase", "rating",
    or your own) make the history.
    """

    model_config = ConfigDict(extra="forbid")

    user: ExternalId
    item: ExternalId
    kind: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None,
        description='what was done: "view" or whatever the release\'s data calls it; "impression" '
        'and "skip" are no part of a history',
    )
    time: Seconds | None = Field(
        None, description="Unix seconds or ISO 8601 text; the moment of receipt by default"
    )
    value: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False, strict=True)] | None = (
        Field(
            None,
            description="a rating, or the weight of the kind of event; by default what is usual "
            "for the kind in the release's data",
        )
    )
    id: ExternalId | None = Field(
        None, description="your own id of the event; sent again, it is not recorded again"
    )
    duration: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)] | None = (
        Field(None, description="how many seconds it lasted, for a view")
    )
    token: Token | None = Field(
        None, description="the token of the answer that the event belongs to, as it came"
    )

    context: dict[Attribute, Attribute | int | _Number | bool] | None = Field(
        None,
        max_length=100,
        description="the circumstances, such as the device, as the further columns of the events "
        "that a release is trained on; others are kept, and passed over by the training",
    )

    def event(self, *, now: float, kind: str, usual: Callable[[str], float]) -> Event:
        """The event with its defaults filled in; `usual` gives the usual value of a kind."""
        kind = kind if self.kind is None else self.kind
        return Event(
            user=self.user,
            item=self.item,
            kind=kind,
            time=now if self.time is None else self.time,
            value=usual(kind) if self.value is None else self.value,
            id=self.id,
            digest=None if self.id is None else self._digest(),
            duration=self.duration,
            token=self.token,
            context=self.context or None,
        )

    def _digest(self) -> bytes:
        # Over what was sent and not over the defaults, so that an event without a time that is
        # sent again later is still the same event.
        sent = json.dumps(self.model_dump(exclude_none=True), sort_keys=True)
        return hashlib.sha256(sent.encode()).digest()[:16]


EventBatch = Annotated[
    list[EventIn],
    BeforeValidator(lambda body: [body] if isinstance(body, dict) else body),
    Field(max_length=MAX_BATCH),
]
"""One event, or a list of them."""


Value = Attribute | int | float | bool | None


class AskIn(BaseModel):
    """Who asks, as far as it is known, and how many recommendations are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"history": ["50", "181"], "k": 10},
                {"user": "196", "context": {}, "k": 10},
                {"tastes": {"genres": ["Comedy", "Romance"]}},
            ]
        },
    )

    user: ExternalId | None = Field(
        None, description="whose recorded history counts too, and who is answered by a profile"
    )
    history: list[ExternalId] = Field(
        [],
        max_length=MAX_BATCH,
        description="ids of items that are liked, oldest first; those that are not known are left "
        "out, and named in the answer",
    )
    profile: dict[Attribute, Value] = Field(
        {},
        max_length=100,
        description="attributes as the user table has them",
    )
    context: dict[Attribute, Value] = Field(
        {}, max_length=100, description="circumstances, as the further columns of the events"
    )
    tastes: dict[Attribute, list[Attribute]] = Field(
        {},
        max_length=20,
        description="values chosen from the item table's columns; they count where there is no "
        'history, such as {"genres": ["Comedy"]}',
    )
    friends: list[ExternalId] = Field(
        [], max_length=1000, description="users whose histories count where nothing else is known"
    )
    k: int = Field(USUAL_K, ge=1, le=MAX_K, strict=True)
    after: Token | None = Field(
        None, description="the token of the page before; what it has shown does not come again"
    )

    def ask(self, shown: Shown | None) -> Ask:
        """The question; `shown` is what the token `after` says."""
        return Ask(
            self.k,
            self.user,
            tuple(self.history),
            self.profile,
            self.context,
            {column: tuple(values) for column, values in self.tastes.items()},
            tuple(self.friends),
            None if shown is None else shown.items,
        )


class AskBatch(BaseModel):
    """Many who ask."""

    model_config = ConfigDict(extra="forbid")

    requests: list[AskIn] = Field(min_length=1, max_length=MAX_ASKS)


_Text = Annotated[str, Field(max_length=20_000)]


class ItemIn(BaseModel):
    """An item that the release does not hold."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"item": "1683", "attributes": {"title": "New Film, The (1999)", "year": 1999}}
            ]
        },
    )

    item: ExternalId
    attributes: dict[
        Attribute,
        _Text
        | int
        | _Number
        | bool
        | Annotated[list[_Text | int | _Number | bool], Field(max_length=1000)]
        | None,
    ] = Field({}, max_length=1000, description="by column of the release's item table")


ItemBatch = Annotated[
    list[ItemIn],
    BeforeValidator(lambda body: [body] if isinstance(body, dict) else body),
    Field(max_length=MAX_ASKS),
]
"""One item, or a list of them."""
