"""Logs that machines read: one JSON object a line, and one such line a request.

Paths and ids never come into the line of a request, only its route. Whatever else is logged is
escaped by JSON, so that nothing from outside can begin a line of its own.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tastemap.errors import ParameterError
from tastemap.online.noted import Noted

__all__ = ["JsonLines", "LogFormat", "PlainLines", "RequestIds", "RequestLog", "log_to_stderr"]

LogFormat = Literal["text", "json"]

log = logging.getLogger("tastemap.requests")

_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(10), *range(11, 32), 127, *range(128, 160), 0x2028, 0x2029)
}
_request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: `time` (ISO 8601, UTC), `level`, `logger`, `message`,
    `process`, `request_id` inside a request, `error` where there is a traceback, and what the
    record brings in its attribute `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if (request_id := _request_id.get()) is not None:
            line["request_id"] = request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        # Line ends and control characters, those of Unicode too, are escaped.
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """A record as text for people, in which a message cannot begin a line of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(process)d %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).replace("\n", "\\n").translate(_CONTROLS)

    def formatException(self, ei: Any) -> str:
        # A traceback has lines of its own; each is indented, so that none looks like a record.
        text = super().formatException(ei).translate(_CONTROLS)
        return "\n".join(f"    {line}" for line in text.split("\n"))


def log_to_stderr(form: LogFormat) -> None:
    """Makes this process log to standard error.

    Raises:
        ParameterError: the format is neither "text" nor "json".
    """
    if form not in get_args(LogFormat):
        raise ParameterError(f"the log format must be text or json, got {form!r}")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class RequestIds:
    """ASGI middleware that names each request: by its X-Request-ID where that is up to 64 letters,
    digits and ". _ -", else by a new one. The answer carries it too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        name = given if _GOOD_ID.fullmatch(given) else secrets.token_hex(8).encode()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", name)]
            await send(message)

        before = _request_id.set(name.decode())
        try:
            await self.app(scope, receive, named)
        finally:
            _request_id.reset(before)


class RequestLog:
    """ASGI middleware that logs a line a request, with method, route, status and seconds."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        noted = Noted(send)

        try:
            await self.app(scope, receive, noted)
        finally:
            fields = {
                "method": scope["method"],
                "route": getattr(scope.get("route"), "path", "other"),
                "status": noted.status,
                "seconds": round(time.perf_counter() - began, 6),
            }
            log.info("request", extra={"fields": fields})
