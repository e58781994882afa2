"""The question that is asked most, without the framework's call chain.

FastAPI takes about as long to find a route, to solve its dependencies and to check its parameters
as a short answer takes to be made, and for a path with an id and a number there is little to check.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from tastemap.online.access import permitted
from tastemap.online.questions import Ask
from tastemap.online.recommending import Answering, as_json
from tastemap.online.routes import RECOMMENDATIONS
from tastemap.online.schemas.requests import MAX_ID, MAX_K, USUAL_K

__all__ = ["DirectRoute"]

_BEFORE, _, _BEHIND = RECOMMENDATIONS.partition("{user:id}")
_PLAIN = re.compile(rb"k=([1-9][0-9]{0,8})")


class DirectRoute(BaseRoute):
    """`GET` of a user's recommendations with no parameter but a good `k`, as nearly all are.

    It stands before the routes of FastAPI and leaves to the one of the same path whatever is not as
    plain as that, a bad request above all; what the answers are, and what the description says of
    them, is that route's.

    Attributes:
        path: of that route, by which requests are counted.
    """

    path = RECOMMENDATIONS

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "GET" or scope.get("root_path"):
            return Match.NONE, {}
        path: str = scope["path"]
        if not (path.startswith(_BEFORE) and path.endswith(_BEHIND)):
            return Match.NONE, {}
        user, k = path[len(_BEFORE) : -len(_BEHIND)], _k(scope["query_string"])
        if k is None or not 0 < len(user) <= MAX_ID:
            return Match.NONE, {}
        return Match.FULL, {"route": self, "path_params": {"user": user, "k": k}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await permitted(Request(scope))
        asked = scope["path_params"]
        response = as_json(await self._answering.ask(Ask(asked["k"], asked["user"]), None, "query"))
        await response(scope, receive, send)


def _k(query: bytes) -> int | None:
    """How many items a query string asks for; None where it is to be looked at more closely."""
    if not query:
        return USUAL_K
    plain = _PLAIN.fullmatch(query)
    return int(plain[1]) if plain is not None and int(plain[1]) <= MAX_K else None
