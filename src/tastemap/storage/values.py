"""Python values as TOML values, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from tastemap.errors import ReleaseError

__all__ = ["put_nulls", "to_toml"]

Path = list[str | int]


def to_toml(contents: Mapping[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """`contents` in the types that TOML has, and the places of mapping entries that are None.

    Raises:
        ReleaseError: a value or key that TOML cannot hold; the message says where.
    """
    nulls: list[Path] = []
    return _plain_mapping(contents, [], nulls), nulls


def put_nulls(contents: dict[str, Any], nulls: Sequence[Any]) -> None:
    """Put None at the places in `contents` that `to_toml` gave.

    Raises:
        ReleaseError: `contents` has no such place.
    """
    for path in nulls:
        try:
            *way, last = path
            place: Any = contents
            for step in way:
                place = place[step]
            place[last] = None
        except (TypeError, ValueError, LookupError) as error:
            raise ReleaseError(
                f"the manifest lists a null at {path!r:.100}, and has no such place"
            ) from error


def _plain(value: Any, path: Path, nulls: list[Path]) -> Any:
    match value:
        case np.generic():
            return _plain(value.item(), path, nulls)
        case bool() | int() | float() | date():
            return value
        case str():
            return _plain_text(value, path)
        case Mapping():
            return _plain_mapping(value, path, nulls)
        case list() | tuple() | np.ndarray():
            return [_plain(entry, [*path, at], nulls) for at, entry in enumerate(value)]
    raise ReleaseError(
        f"{_name(path)} is of type {type(value).__name__}, which a manifest cannot hold. "
        "Give strings, numbers, booleans, dates, or lists and mappings of them"
    )


def _plain_mapping(value: Mapping[Any, Any], path: Path, nulls: list[Path]) -> dict[str, Any]:
    plain = {}
    for key, entry in value.items():
        if not isinstance(key, str):
            raise ReleaseError(
                f"{_name(path)} has the key {key!r}, and keys of a manifest are strings. "
                "Turn it into one"
            )
        here = [*path, _plain_text(key, path)]
        if entry is None:
            nulls.append(here)
        else:
            plain[key] = _plain(entry, here, nulls)
    return plain


def _plain_text(text: str, path: Path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ReleaseError(
            f"{_name(path)} holds text that UTF-8 cannot hold (a lone surrogate). Give valid text"
        ) from error
    return text


def _name(path: Path) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step!s}" for step in path)
    return "the manifest" + "".join(steps)
