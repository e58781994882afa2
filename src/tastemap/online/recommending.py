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
from tastemap.online.routes import RECOMMENDATIONS, PathId
from tastemap.online.schemas.requests import MAX_K, USUAL_K, AskBatch, AskIn, Token
from tastemap.online.schemas.responses import Answer, AnswerList, answer_fields
from tastemap.online.tokens import MAX_SHOWN, Shown, TokenError, Tokens

__all__ = ["Answering", "as_json", "recommending"]

K = Annotated[int, Query(ge=1, le=MAX_K, description="how many items")]
After = Annotated[
    Token | None,
    Query(description="the token of the page before; what it has shown does not come again"),
]


class Answering:
    """Has questions answered, gives each answer a token, and counts it."""

    def __init__(
        self,
        answers: Batcher[Question, Found],
        tokens: Tokens,
        metrics: Metrics,
        business: Business,
    ) -> None:
        self._answers, self._tokens = answers, tokens
        self._metrics, self._business = metrics, business

    async def ask(self, question: Ask, shown: Shown | None, *loc: str | int) -> dict[str, Any]:
        """The fields of an answer, behind the pages that a token tells of.

        Raises:
            Refusal: the question cannot be answered as it stands; it came at `loc`.
        """
        try:
            found = await self._answers.ask(question)
        except BadAskError as error:
            place = [*loc, error.field, error.column or ""]
            raise Refusal(422, place, error.problem, "bad_attribute") from None
        if shown is not None:
            # A token has room for so many; who has seen them has come to the end.
            found = replace(found, items=found.items[: MAX_SHOWN - len(shown.items)])
        return self._given(found, shown)

    async def similar(self, question: SimilarTo) -> dict[str, Any]:
        """The fields of an answer that says what is like an item.

        Raises:
            Refusal: the item is not known.
        """
        try:
            return self._given(await self._answers.ask(question))
        except UnknownItemError as error:
            raise unknown_item(error, "path", "item") from None

    def read(self, token: str | None, *loc: str | int) -> Shown | None:
        """What a token tells of the pages before.

        Raises:
            Refusal: it was not given by this service; it came at `loc`.
        """
        if token is None:
            return None
        try:
            return self._tokens.read(token)
        except TokenError as error:
            raise Refusal(422, loc, str(error), "bad_token") from None

    def _given(self, found: Found, after: Shown | None = None) -> dict[str, Any]:
        self._metrics.answered(found)
        sources = [one.source for one in found.items]
        self._business.shown(sources, 0 if after is None else len(after.items))
        items = [one.card.item for one in found.items]
        return answer_fields(found, self._tokens.give(found.release, items, sources, after=after))


def recommending(answering: Answering) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["recommendations"])

    @router.get(RECOMMENDATIONS, response_model=Answer)
    async def recommend_to_user(user: PathId, k: K = USUAL_K, after: After = None) -> Response:
        """What next for a user. One never seen before gets what is popular."""
        shown = answering.read(after, "query", "after")
        hidden = None if shown is None else shown.items
        return as_json(await answering.ask(Ask(k, user, shown=hidden), shown, "query"))

    @router.post(
        "/recommendations",
        response_model=Answer,
        dependencies=[Depends(require_json)],
    )
    async def recommend_to_somebody(asked: AskIn) -> Response:
        """What next for somebody, by what is known: a user, liked items, attributes, chosen
        values, circumstances, friends. The first of these that says something is used, and named
        as the answer's `link`. Liked items that are not known are left out, and named."""
        shown = answering.read(asked.after, "body", "after")
        return as_json(await answering.ask(asked.ask(shown), shown, "body"))

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
            shown = answering.read(one.after, *loc, "after")
            waiting.append((one.ask(shown), shown, loc))
        answered = [answering.ask(question, shown, *loc) for question, shown, loc in waiting]
        return as_json({"answers": await asyncio.gather(*answered)})

    @router.get("/items/{item:id}/similar", response_model=Answer)
    async def similar_items(item: PathId, k: K = USUAL_K) -> Response:
        """The items most like one."""
        return as_json(await answering.similar(SimilarTo(item, k)))

    return router


def as_json(content: dict[str, Any]) -> Response:
    """The response of an answer's fields."""
    # Written as it is: checking an answer against its model would cost more than making it.
    return Response(orjson.dumps(content), media_type="application/json")
