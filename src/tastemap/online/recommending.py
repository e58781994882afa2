"""The routes that recommend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from tastemap.online.batching import Batcher
from tastemap.online.cold_start import BadAskError
from tastemap.online.metrics import Metrics
from tastemap.online.questions import Ask, Found, Question, SimilarTo, UnknownItemError
from tastemap.online.refusals import Refusal, require_json, unknown_item
from tastemap.online.routes import PathId
from tastemap.online.schemas import (
    MAX_K,
    Answer,
    AnswerList,
    AskBatch,
    AskIn,
    Recommended,
    Token,
)
from tastemap.online.tokens import MAX_SHOWN, Shown, TokenError, Tokens

__all__ = ["recommending"]

K = Annotated[int, Query(ge=1, le=MAX_K, description="how many items")]
After = Annotated[
    Token | None,
    Query(description="the token of the page before; what it has shown does not come again"),
]


def recommending(answers: Batcher[Question, Found], tokens: Tokens, metrics: Metrics) -> APIRouter:
    """The routes, over a batcher that answers questions."""
    router = APIRouter(tags=["recommendations"])

    def given(found: Found, after: Shown | None = None) -> Answer:
        metrics.answered(found)
        items = [Recommended.of(one) for one in found.items]
        token = tokens.give(
            found.release,
            [one.item for one in items],
            [one.source for one in items],
            after=after,
        )
        degraded = list(found.degraded) or None
        return Answer(
            items=items, link=found.link, release=found.release, token=token, degraded=degraded
        )

    def read(token: str | None, *loc: str | int) -> Shown | None:
        if token is None:
            return None
        try:
            return tokens.read(token)
        except TokenError as error:
            raise Refusal(422, loc, str(error), "bad_token") from None

    async def ask(question: Ask, shown: Shown | None, *loc: str | int) -> Answer:
        try:
            found = await answers.ask(question)
        except UnknownItemError as error:
            raise unknown_item(error, *loc, "history", error.index) from None
        except BadAskError as error:
            place = [*loc, error.field, error.column or ""]
            raise Refusal(422, place, error.problem, "bad_attribute") from None
        if shown is not None:
            # A token has room for so many; who has seen them has come to the end.
            found = replace(found, items=found.items[: MAX_SHOWN - len(shown.items)])
        return given(found, shown)

    @router.get("/users/{user:id}/recommendations", response_model_exclude_none=True)
    async def recommend_to_user(user: PathId, k: K = 10, after: After = None) -> Answer:
        """What next for a user. One never seen before gets what is popular."""
        shown = read(after, "query", "after")
        hidden = None if shown is None else shown.items
        return await ask(Ask(k, user, shown=hidden), shown, "query")

    @router.post(
        "/recommendations",
        response_model_exclude_none=True,
        dependencies=[Depends(require_json)],
    )
    async def recommend_to_somebody(asked: AskIn) -> Answer:
        """What next for somebody, by what is known: a user, liked items, attributes, chosen
        values, circumstances, friends. The first of these that says something is used, and named
        as the answer's `link`."""
        shown = read(asked.after, "body", "after")
        return await ask(asked.ask(shown), shown, "body")

    @router.post(
        "/recommendations/batch",
        response_model_exclude_none=True,
        dependencies=[Depends(require_json)],
    )
    async def recommend_to_many(asked: AskBatch) -> AnswerList:
        """Answers to many at once. A list with one bad request is refused whole."""
        waiting = []
        for place, one in enumerate(asked.requests):
            loc = ("body", "requests", place)
            shown = read(one.after, *loc, "after")
            waiting.append((one.ask(shown), shown, loc))
        answered = [ask(question, shown, *loc) for question, shown, loc in waiting]
        return AnswerList(answers=await asyncio.gather(*answered))

    @router.get("/items/{item:id}/similar", response_model_exclude_none=True)
    async def similar_items(item: PathId, k: K = 10) -> Answer:
        """The items most like one."""
        try:
            return given(await answers.ask(SimilarTo(item, k)))
        except UnknownItemError as error:
            raise unknown_item(error, "path", "item") from None

    return router
