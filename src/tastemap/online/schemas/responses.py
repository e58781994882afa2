"""What the service gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from tastemap.online.questions import Found

__all__ = [
    "Accepted",
    "Announced",
    "Answer",
    "AnswerList",
    "Health",
    "HistoryItem",
    "HistoryList",
    "Item",
    "ItemList",
    "LikeOut",
    "Recommended",
    "UserList",
    "UserOut",
    "Withdrawn",
    "answer_fields",
    "errors_as_json",
]


class Item(BaseModel):
    """An item; what the release's item table does not hold is left out."""

    item: str
    title: str | None = None
    year: int | None = None
    genres: list[str] = []


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
    unknown_items: list[str] | None = Field(
        None,
        description="items of the request's history that are not known, without which the answer "
        "was made",
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
    if found.degraded:
        fields["degraded"] = list(found.degraded)
    if found.unknown:
        fields["unknown_items"] = list(found.unknown)
    return fields


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
