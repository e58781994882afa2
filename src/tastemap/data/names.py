"""What the columns of a log are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tastemap.errors import DataError

__all__ = ["ROLES", "SYNONYMS", "ColumnNames", "recognise"]

ROLES = ("user", "item", "time", "value", "kind")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "uid", "customer", "customer_id", "visitor", "visitor_id",
             "reviewer_id", "member", "member_id", "account_id", "profile_id", "person_id"),
    "item": ("item", "item_id", "iid", "product", "product_id", "movie", "movie_id", "film",
             "film_id", "article", "article_id", "book", "book_id", "isbn", "song", "song_id",
             "track", "track_id", "video", "video_id", "business_id", "content_id", "sku", "asin"),
    "time": ("time", "timestamp", "ts", "datetime", "date", "unix_time", "event_time",
             "unix_review_time", "created_at"),
    "value": ("value", "rating", "score", "weight", "stars"),
    "kind": ("kind", "event", "event_type", "type", "action", "behavior", "behaviour"),
}  # fmt: skip
"""Names that need no mapping, the first that a file has wins. Case, spaces, `_` and `-` do not
count (`userId`, `User ID`), and neither does RecBole's type suffix (`user_id:token`)."""


@dataclass(frozen=True)
class ColumnNames:
    """What the caller said the columns are called; None where it is to be recognised."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    value: str | None = None
    kind: str | None = None
    context: tuple[str, ...] = ()

    def resolve(self, found: Sequence[str], source: str) -> dict[str, str]:
        """The column for each role that is there, and for each context column.

        Raises:
            DataError: user or item is not there, or a column that was named, or is there twice.
        """
        chosen: dict[str, str] = {}
        for role in ROLES:
            named: str | None = getattr(self, role)
            name = recognise(role, found) if named is None else _named(named, found, source, role)
            if name is not None:
                chosen[role] = name
            elif role in ("user", "item"):
                raise DataError(
                    f"no {role} column among {_listed(found)}",
                    source=source,
                    remedy=_no_header(found) or f'Name it, as in {role}="NAME"',
                )
        for name in self.context:
            if name in ROLES:
                raise DataError(
                    f"a context column cannot be called {name!r}",
                    source=source,
                    column=name,
                    remedy="Rename it, since to_frame() uses that name",
                )
            chosen[name] = _named(name, found, source, "context")
        for role, name in chosen.items():
            if list(found).count(name) > 1:
                raise DataError(
                    "the column occurs more than once",
                    source=source,
                    column=name,
                    remedy=f"Rename one, so that {role} is plain",
                )
        return chosen


def normalised(name: str) -> str:
    """A column's name without type suffix, case and separators."""
    return re.sub(r"[\s_\-.]", "", name.partition(":")[0]).lower()


def recognise(role: str, found: Sequence[str]) -> str | None:
    """The column that is called by one of a role's synonyms, or None."""
    by_name = {normalised(name): name for name in reversed(found)}
    for synonym in SYNONYMS[role]:
        if normalised(synonym) in by_name:
            return by_name[normalised(synonym)]
    return None


def _named(name: str, found: Sequence[str], source: str, role: str) -> str:
    if name in found:
        return name
    for other in found:
        if other.partition(":")[0] == name:
            return other
    raise DataError(
        f"there is no column {name!r} ({role}); there are {_listed(found)}",
        source=source,
        column=name,
        remedy="Name one of these",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:30])
    return f"the columns {shown}" + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _no_header(found: Sequence[str]) -> str | None:
    if sum(bool(re.fullmatch(r"-?\d+(\.\d+)?", name.strip())) for name in found) >= 2:
        return "The first line looks like data: put a header line such as user,item,time before it"
    return None
