"""The description of the API: with every refusal that a route may answer, in the form it has."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

__all__ = ["Problem", "Problems", "describe"]


class Problem(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description='where: ["body", 3, "item"]')
    msg: str = Field(description="what is wrong, for people")
    type: str = Field(description="what is wrong, for machines")


class Problems(BaseModel):
    """A refused request."""

    detail: list[Problem]


_WAIT = {
    "Retry-After": {
        "description": "seconds to wait before asking again",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_REQUEST_ID = {
    "X-Request-ID": {
        "description": "the name of the request in logs: yours, where it has up to 64 letters, "
        "digits and . _ -, or a new one",
        "schema": {"type": "string"},
    }
}
_ALWAYS = {
    401: "A key is needed, or this one is not known.",
    403: "The key has not the role that this needs.",
    422: "Something in the request is not as it should be.",
    429: "More requests than one caller may send.",
}
_OF_BODIES = {
    400: "The body is not text in UTF-8.",
    413: "The body is too large.",
    415: "The body does not say that it is JSON.",
}
_OF_ROUTES = {
    ("post", "/events"): {
        404: "An item is not in the release.",
        409: "An event's id was used for another event.",
        503: "Nothing was recorded, since the disk is full or fails. Send it again later.",
    },
    ("post", "/items"): {
        409: "The release holds an item, and attributes are given.",
        503: "Nothing was changed, since the disk is full or fails. Send it again later.",
    },
    ("delete", "/items/{item}"): {
        503: "Nothing was changed, since the disk is full or fails. Send it again later.",
    },
    ("get", "/ready"): {503: "The service cannot answer, or cannot record."},
}
_OPEN = ("/health", "/ready")


def describe(app: FastAPI) -> None:
    """Makes the description of an app name every refusal, and how to send a key."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (Problem, Problems):
        schemas[model.__name__] = model.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas[model.__name__].pop("$defs", None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            # A service without keys takes requests without.
            operation["security"] = [] if path in _OPEN else [{"bearer": []}, {"key": []}, {}]
            _add_refusals(path, method, operation)
    return schema


def _add_refusals(path: str, method: str, operation: dict[str, Any]) -> None:
    refusals = dict(_OF_ROUTES.get((method, path), {}))
    if path not in _OPEN:
        refusals |= _ALWAYS
    if "requestBody" in operation:
        refusals |= _OF_BODIES
    elif "{item}" in path:
        refusals[404] = "The item is not in the release."
    elif "{" in path:
        refusals[404] = "No route is like this path."
    responses = operation["responses"]
    for status, why in refusals.items():
        responses.setdefault(str(status), {"description": why})
    if "422" in responses:
        # FastAPI's own words are of its own form.
        responses["422"]["description"] = _ALWAYS[422]
    for status, described in responses.items():
        headers = described.setdefault("headers", {})
        headers.update(_REQUEST_ID)
        if status >= "400":
            schema = {"$ref": "#/components/schemas/Problems"}
            described["content"] = {"application/json": {"schema": schema}}
        if status == "429" or (status, path) == ("503", "/events"):
            headers.update(_WAIT)
