"""What the routes share: ids in paths."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path as InPath
from starlette.convertors import Convertor, register_url_convertor

from tastemap.online.schemas.requests import MAX_ID

__all__ = ["RECOMMENDATIONS", "PathId"]

RECOMMENDATIONS = "/users/{user:id}/recommendations"
"""The path of what is asked most."""


class _AnyText(Convertor[str]):
    """Ids in paths may hold anything, slashes and line ends too."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _AnyText())

PathId = Annotated[str, InPath(max_length=MAX_ID)]
