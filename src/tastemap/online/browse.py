"""Looking around in a release: its users, its items, and who did what. What the page needs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from tastemap.online.engine import Engine
from tastemap.online.questions import UnknownItemError
from tastemap.online.refusals import unknown_item
from tastemap.online.routes import PathId
from tastemap.online.schemas.requests import MAX_ID
from tastemap.online.schemas.responses import (
    HistoryItem,
    HistoryList,
    Item,
    ItemList,
    UserList,
    UserOut,
)
from tastemap.online.serving import Serving

__all__ = ["browsing"]

Limit = Annotated[int, Query(ge=1, le=500)]
Search = Annotated[str, Query(max_length=MAX_ID)]


def browsing(engine: Engine) -> APIRouter:
    """The routes, over whatever release the engine serves."""
    router = APIRouter(tags=["browsing"])

    @router.get("/users")
    def find_users(query: Search = "", limit: Limit = 20) -> UserList:
        """Users of the release whose id begins with the query."""
        engine.catch_up()
        serving = engine.serving
        found = [
            (user, row)
            for user, row in serving.catalogue.find_users(query, limit)
            if not serving.live.is_forgotten(user)
        ]
        rows = [row for _, row in found]
        counts = serving.pipeline.histories.counts
        return UserList(
            users=[
                UserOut(user=user, events=int(counts[row]), profile=profile)
                for (user, row), profile in zip(
                    found, serving.catalogue.profiles(rows), strict=True
                )
            ]
        )

    @router.get("/users/{user:id}/history", response_model_exclude_none=True)
    def history(user: PathId, limit: Limit = 50) -> HistoryList:
        """What a user did, the release's events and the later ones, newest first."""
        engine.catch_up()
        return _history(engine.serving, user, limit)

    @router.get("/items", response_model_exclude_none=True)
    def find_items(query: Search = "", limit: Limit = 20) -> ItemList:
        """The most popular items with every word of the query in their title."""
        found = engine.serving.catalogue.find_items(query, limit)
        return ItemList(items=[Item(**asdict(card)) for card in found])

    @router.get("/items/{item:id}", response_model_exclude_none=True)
    def item(item: PathId) -> Item:
        """One item."""
        engine.catch_up()
        try:
            return Item(**asdict(engine.serving.card(item)))
        except UnknownItemError as error:
            raise unknown_item(error, "path", "item") from None

    return router


def _history(serving: Serving, user: str, limit: int) -> HistoryList:
    rows, histories = serving.live.histories([user])
    row = int(rows[0])
    kinds = serving.pipeline.data.kind_names
    newest = range(histories.n_events - 1, max(-1, histories.n_events - 1 - limit), -1)
    return HistoryList(
        user=user,
        known=row > 0 or histories.n_events > 0,
        count=histories.n_events,
        profile=serving.catalogue.profiles([row])[0] if row else {},
        items=[
            HistoryItem(
                **asdict(serving.catalogue.item(int(histories.items[event]))),
                kind=kinds[histories.kinds[event]],
                time=float(histories.times[event]),
                value=float(histories.values[event]),
                liked=bool(histories.values[event] >= serving.like.least),
            )
            for event in newest
        ],
    )
