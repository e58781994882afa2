"""What the service takes and gives, as JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tastemap.online.clock import now
from tastemap.online.events import Event
from tastemap.online.questions import Ask, Found
from tastemap.online.tokens import MAX_TOKEN, Shown

__all__ = [
    "MAX_K",
    "USUAL_K",
    "Accepted",
    "Announced",
    "Answer",
    "AnswerList",
    "AskBatch",
    "AskIn",
    "EventBatch",
    "EventIn",
    "ExternalId",
    "Health",
    "HistoryItem",
    "HistoryList",
    "Item",
    "ItemBatch",
    "ItemIn",
    "ItemList",
    "LikeOut",
    "Recommended",
    "Token",
    "UserList",
    "UserOut",
    "Withdrawn",
    "answer_fields",
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


Attribute = Annotated[str, Field(max_length=256)]


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
        [], max_length=MAX_BATCH, description="ids of items that are liked, oldest first"
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


class Item(BaseModel):
    """An item; what the release's item table does not hold is left out."""

    item: str
    title: str | None = None
    year: int | None = None
    genres: list[str] = []


_Text = Annotated[str, Field(max_length=20_000)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


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


class Announced(BaseModel):
    """What became of posted items; all of them are on the disk."""

    items: int
    new: int = Field(description="those that the release does not hold")


class Withdrawn(BaseModel):
    """An item that is in no answer any more."""

    item: str
    new: bool = Field(description="whether the release did not hold it")


class Recommended(Item):
    """An item of an answer."""

    score: float = Field(description="higher is better; comparable within an answer and source")
    source: str = Field(description="the model, or the kind of popularity, that found the item")
    reason: str = Field(description="why it is here, for people")


class Answer(BaseModel):
    """Recommendations, best first."""

    items: list[Recommended]
    link: str = Field(
        description="what the answer goes by: history, profile, context, friends, popularity, "
        "item, or precomputed, where it was made in advance"
    )
    release: str = Field(description="the version of the release that found them")
    token: str | None = Field(
        None,
        description="names this answer in the events that come of it, and asks for the next page "
        "as `after`",
    )
    degraded: list[str] | None = Field(
        None, description="stages that failed, without which the answer was made"
    )


def answer_fields(found: Found, token: str) -> dict[str, Any]:
    """An answer as an `Answer` has it, without what is not known."""
    items = []
    for one in found.items:
        card = one.card
        item: dict[str, Any] = {"item": card.item}
        if card.title is not None:
            item["title"] = card.title
        if card.year is not None:
            item["year"] = card.year
        item["genres"] = card.genres
        item["score"], item["source"], item["reason"] = one.score, one.source, one.reason
        items.append(item)
    fields = {"items": items, "link": found.link, "release": found.release, "token": token}
    return fields | {"degraded": list(found.degraded)} if found.degraded else fields


class AnswerList(BaseModel):
    """Answers, in the order of the requests."""

    answers: list[Answer]


class Accepted(BaseModel):
    """What became of posted events; all of them are on the disk."""

    accepted: int
    duplicates: int = Field(description="events whose id had been recorded before")


class ItemList(BaseModel):
    """Items."""

    items: list[Item]


class HistoryItem(Item):
    """An item of a user's history."""

    kind: str
    time: float
    value: float
    liked: bool = Field(description="whether the value says that the user likes the item")


class HistoryList(BaseModel):
    """A user's history, newest first."""

    user: str
    known: bool = Field(description="whether the release or the log has events of the user")
    count: int
    profile: dict[str, str]
    items: list[HistoryItem]


class UserOut(BaseModel):
    """A user of the release."""

    user: str
    events: int
    profile: dict[str, str]


class UserList(BaseModel):
    """Users of the release."""

    users: list[UserOut]


class LikeOut(BaseModel):
    """The kind and value to post for "I like this"."""

    kind: str
    value: float


class Health(BaseModel):
    """How the service is."""

    status: str = Field(description='"ok", or "degraded" where there is a problem')
    release: str
    model: str
    users: int
    items: int
    events_recorded: int = Field(description="the offset of the newest event of the log")
    live_users: int = Field(description="users with events later than the release")
    problem: str | None = None
    process: int = Field(description="the id of the worker process that answers")
    like: LikeOut


def errors_as_json(errors: Sequence[Mapping[str, Any]]) -> bytes:
    """The body of a refusal: `{"detail": [{"loc", "msg", "type"}]}`.

    What was sent is not repeated, since it may be huge or not be JSON at all (NaN).
    """
    detail = [
        {
            "loc": [part if isinstance(part, int) else str(part)[:80] for part in error["loc"]],
            "msg": str(error["msg"]).removeprefix("Value error, ")[:500],
            "type": error["type"],
        }
        for error in errors[:20]
    ]
    return json.dumps({"detail": detail}).encode()
