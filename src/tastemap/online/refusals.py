"""Bad requests: each gets a 4xx that names the field, as `{"detail": [{"loc", "msg", "type"}]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tastemap.online.log_file import StateError
from tastemap.online.questions import UnknownItemError
from tastemap.online.schemas.responses import errors_as_json

__all__ = ["BodyLimit", "Refusal", "explain_refusals", "refused", "require_json", "unknown_item"]


class Refusal(Exception):
    """A request that is well formed and still cannot be answered.

    Args:
        status: the HTTP status.
        loc: the path to the field, as in FastAPI's own errors: ["body", 3, "item"].
        msg: what is wrong, for people.
        type_: what is wrong, for machines.
    """

    def __init__(self, status: int, loc: Sequence[str | int], msg: str, type_: str) -> None:
        self.status, self.loc, self.msg, self.type = status, loc, msg, type_
        super().__init__(msg)


def unknown_item(error: UnknownItemError, *loc: str | int) -> Refusal:
    """404 for an item that the release does not hold."""
    return Refusal(404, loc, str(error), "unknown_item")


def require_json(request: Request) -> None:
    """Refuses bodies that do not say they are JSON.

    It is also what keeps other sites' pages from posting events in a visitor's name: a browser asks
    first before it sends JSON across sites, and the answer is no.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refusal(
            415, ["header", "content-type"], "send JSON as application/json", "content_type"
        )


def explain_refusals(app: FastAPI) -> None:
    """Makes every refusal of an app name the field in the same form."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return refused(422, error.errors())

    @app.exception_handler(Refusal)
    async def refuse(_: Request, error: Refusal) -> Response:
        return refused(error.status, [{"loc": error.loc, "msg": error.msg, "type": error.type}])

    @app.exception_handler(StateError)
    async def not_recorded(_: Request, error: StateError) -> Response:
        detail = {"loc": ["body"], "msg": str(error), "type": "not_recorded"}
        return refused(503, [detail], {"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        # FastAPI's word for a body it could not parse is 400 without a place.
        loc = ["body"] if error.status_code in (400, 413) else ["path"]
        detail = {"loc": loc, "msg": error.detail, "type": "http"}
        return refused(error.status_code, [detail], error.headers)


def refused(status: int, errors: Sequence[Mapping[str, Any]], headers: object = None) -> Response:
    """The answer to a request that is refused, in the form that all of them have."""
    return Response(
        errors_as_json(errors),
        status,
        dict(headers) if isinstance(headers, dict) else None,
        "application/json",
    )


class BodyLimit:
    """ASGI middleware that answers 413 to bodies larger than `limit` bytes, said or sent."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said[:20]) > self.limit:
            await self._too_large()(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.limit:
                raise HTTPException(413, self._reason())
            return message

        await self.app(scope, counted, send)

    def _reason(self) -> str:
        return f"the body is larger than {self.limit:,} bytes; send the events in smaller lists"

    def _too_large(self) -> Response:
        return refused(413, [{"loc": ["body"], "msg": self._reason(), "type": "too_large"}])
