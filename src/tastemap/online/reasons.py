"""Why an item was recommended, in words for the person it was recommended to."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "FITS",
    "because_of",
    "by_itself",
    "chosen",
    "new_and_like",
    "of_friends",
    "popular_with",
    "resembles",
    "similar_to",
]

FITS = "Fits what you liked so far"
"""The reason of an item that a model found, where nothing better can be said."""

_GENDERS = {
    "f": "women",
    "female": "women",
    "w": "women",
    "m": "men",
    "male": "men",
}


def because_of(title: str, *, liked: bool) -> str:
    """The reason of an item that a model found through one of the history."""
    return f"Because you liked “{title}”" if liked else f"Because you know “{title}”"


def chosen(tastes: Mapping[str, tuple[str, ...]]) -> str:
    """The reason of an item for somebody who chose values of the item table."""
    values = [value for column in tastes.values() for value in column]
    return (
        "Because you chose " + (", ".join(values[:-1]) + " and " if values[1:] else "") + values[-1]
    )


def of_friends(title: str) -> str:
    """The reason of an item that a model found through one that a friend knows."""
    return f"Your friends know “{title}”"


def similar_to(title: str) -> str:
    """The reason of an item that is like another one."""
    return f"Chosen by people who also chose “{title}”"


def resembles(title: str) -> str:
    """The reason of an item that is like another one by its words and attributes."""
    return f"Similar in kind to “{title}”"


def new_and_like(title: str | None) -> str:
    """The reason of a new item that is like a known one; None where it is like none."""
    return "New" if title is None else f"New: like “{title}”"


def popular_with(source: str) -> str:
    """The reason of an item that a source named "popularity" or "popularity:column=value" found."""
    column, _, value = source.partition(":")[2].partition("=")
    if not value:
        return "Popular right now"
    if column in ("gender", "sex"):
        return f"Popular with {_GENDERS.get(value.lower(), f'{value} people')}"
    if column == "age":
        return f"Popular with people aged {value}"
    return f"Popular with people whose {column.replace('_', ' ')} is {value}"


def by_itself(source: str) -> str | None:
    """The reason that a source is by itself; None where it is not, as it is a model's name."""
    if source == "pinned":
        return "Featured"
    return popular_with(source) if source.partition(":")[0] == "popularity" else None
