"""The routes that recommend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Response

from tastemap.online.batching import Batcher
from tastemap.online.business import Business
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
    Token,
    answer_fields,
)
from tastemap.online.tokens import MAX_SHOWN, Shown, TokenError, Tokens

__all__ = ["recommending"]

K = Annotated[int, Query(ge=1, le=MAX_K, description="how many items")]
After = Annotated[
    Token | None,
    Query(description="the token of the page before; what it has shown does not come again"),
]


def recommending(
    answers: Batcher[Question, Found], tokens: Tokens, metrics: Metrics, business: Business
) -> APIRouter:
    """The routes, over a batcher that answers questions."""
    router = APIRouter(tags=["recommendations"])

    def given(found: Found, after: Shown | None = None) -> dict[str, Any]:
        metrics.answered(found)
        sources = [one.source for one in found.items]
        business.shown(sources, 0 if after is None else len(after.items))
        token = tokens.give(
            found.release,
            [one.card.item for one in found.items],
            sources,
            after=after,
        )
        return answer_fields(found, token)

    def read(token: str | None, *loc: str | int) -> Shown | None:
        if token is None:
            return None
        try:
            return tokens.read(token)
        except TokenError as error:
            raise Refusal(422, loc, str(error), "bad_token") from None

    async def ask(question: Ask, shown: Shown | None, *loc: str | int) -> dict[str, Any]:
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

    @router.get("/users/{user:id}/recommendations", response_model=Answer)
    async def recommend_to_user(user: PathId, k: K = 10, after: After = None) -> Response:
        """What next for a user. One never seen before gets what is popular."""
        shown = read(after, "query", "after")
        hidden = None if shown is None else shown.items
        return _json(await ask(Ask(k, user, shown=hidden), shown, "query"))

    @router.post(
        "/recommendations",
        response_model=Answer,
        dependencies=[Depends(require_json)],
    )
    async def recommend_to_somebody(asked: AskIn) -> Response:
        """What next for somebody, by what is known: a user, liked items, attributes, chosen
        values, circumstances, friends. The first of these that says something is used, and named
        as the answer's `link`."""
        shown = read(asked.after, "body", "after")
        return _json(await ask(asked.ask(shown), shown, "body"))

    @router.post(
        "/recommendations/batch",
        response_model=AnswerList,
        dependencies=[Depends(require_json)],
    )
    async def recommend_to_many(asked: AskBatch) -> Response:
        """Answers to many at once. A list with one bad request is refused whole."""
        waiting = []
        for place, one in enumerate(asked.requests):
            loc = ("body", "requests", place)
            shown = read(one.after, *loc, "after")
            waiting.append((one.ask(shown), shown, loc))
        answered = [ask(question, shown, *loc) for question, shown, loc in waiting]
        return _json({"answers": await asyncio.gather(*answered)})

    @router.get("/items/{item:id}/similar", response_model=Answer)
    async def similar_items(item: PathId, k: K = 10) -> Response:
        """The items most like one."""
        try:
            return _json(given(await answers.ask(SimilarTo(item, k))))
        except UnknownItemError as error:
            raise unknown_item(error, "path", "item") from None

    return router


def _json(content: dict[str, Any]) -> Response:
    # Written as it is: checking an answer against its model would cost more than making it.
    return Response(orjson.dumps(content), media_type="application/json")
