"""A folder of static files as the page at "/"."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["add_page"]

# Nothing comes from elsewhere, nothing is written into the page as markup, nobody may frame it.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Looked up anew each time, by ETag, so that an upgrade never mixes old and new files.
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def add_page(app: FastAPI, folder: Path | None) -> None:
    """Serves a folder at "/static", and its `index.html` at "/"; without one, "/" leads to the
    description of the API."""
    files = None if folder is None else _Files(directory=folder)
    if files is not None:
        app.mount("/static", files, name="static")

    async def index(request: Request) -> Response:
        if files is None:
            return RedirectResponse("/docs")
        return await files.get_response("index.html", request.scope)

    app.add_route("/", index, include_in_schema=False)
