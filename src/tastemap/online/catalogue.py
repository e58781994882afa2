"""What the items and users of a release are called, for people to read and search."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.text import folded
from tastemap.online.tokens import item_hash

__all__ = ["Catalogue", "ItemCard"]

_TITLE_COLUMNS = ("title", "name")
_ARTICLE = re.compile(r"^(.*), (The|An?)( \(\d{4}\))?$")
# Cards that are kept made, those of what is recommended often.
_CARDS = 1 << 16
_GENRE_COLUMNS = ("genres", "genre", "categories", "category")


@dataclass(frozen=True, slots=True)
class ItemCard:
    """What is shown of an item; title and year are None where the item table has none."""

    item: str
    title: str | None
    year: int | None
    genres: list[str]

    @property
    def label(self) -> str:
        """The title as people say it ("The Matrix (1999)"), or else the id."""
        return _ARTICLE.sub(r"\2 \1\3", self.title) if self.title else self.item


class Catalogue:
    """The item and user tables of a data set, by row.

    Titles are looked for in a column "title" or "name", years in "year", genres in "genres",
    "genre", "categories" or "category" (a list, or text joined by "|"). A table without them, or
    none at all, leaves the ids.

    Attributes:
        user_profiles: the user table aligned with the user rows, or None.
    """

    def __init__(self, data: Dataset) -> None:
        n = len(data.items) - 1
        table = data.item_attributes()
        columns = (
            {} if table is None else {column.lower(): table[column] for column in table.columns}
        )
        titles = _first(columns, _TITLE_COLUMNS)
        years = columns.get("year")
        genres = _first(columns, _GENRE_COLUMNS)
        self._titles: list[str | None] = (
            [None] * n if titles is None else titles.cast(pl.Utf8, strict=False).to_list()
        )
        self._years: list[int | None] = (
            [None] * n if years is None else years.cast(pl.Int32, strict=False).to_list()
        )
        self._genres: list[Any] = [None] * n if genres is None else genres.to_list()
        self._ids = pl.Series(data.items.ids_array).cast(pl.Utf8)
        self._users = pl.Series(data.users.ids_array).cast(pl.Utf8)
        labels = pl.Series(self._titles, dtype=pl.Utf8)
        self._searched = folded(labels) if titles is not None else self._ids
        self._by_popularity = np.argsort(-data.item_counts[1:], kind="stable")
        self.item: Callable[[int], ItemCard] = lru_cache(_CARDS)(self._card)
        """The card of an item row (from 1)."""
        # Aligned once, since looking a user up in the user table takes a pass over all of it.
        self.user_profiles = data.profiles(np.arange(len(data.users)))

    def _card(self, row: int) -> ItemCard:
        genres = self._genres[row - 1]
        if isinstance(genres, str):
            genres = genres.split("|")
        return ItemCard(
            self._ids[row - 1],
            self._titles[row - 1],
            self._years[row - 1],
            [str(genre) for genre in genres or [] if genre],
        )

    @cached_property
    def _hashes(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The hashes of all items in ascending order, and the item row of each."""
        hashes = np.fromiter(map(item_hash, self._ids), np.uint32, len(self._ids))
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order + 1

    def rows_of_hashes(self, hashes: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The item rows whose `item_hash` is among some; those the release does not hold are left
        out."""
        known, rows = self._hashes
        wanted = np.unique(hashes)
        places = [
            rows[start:stop]
            for start, stop in zip(
                np.searchsorted(known, wanted, side="left"),
                np.searchsorted(known, wanted, side="right"),
                strict=True,
            )
        ]
        return np.concatenate(places).astype(np.int32) if places else np.empty(0, np.int32)

    def find_items(self, query: str, limit: int) -> list[ItemCard]:
        """The most popular items whose title holds every word of the query, or whose id it is."""
        words = folded(pl.Series([query], dtype=pl.Utf8))[0].split()
        found = np.ones(len(self._ids), np.bool_)
        for word in words:
            found &= self._searched.str.contains(word, literal=True).fill_null(False).to_numpy()
        found |= (self._ids == query.strip()).to_numpy()
        rows = self._by_popularity[found[self._by_popularity]][:limit]
        return [self.item(row + 1) for row in rows.tolist()]

    def find_users(self, query: str, limit: int) -> list[tuple[str, int]]:
        """Users, as ids with user rows, whose id begins with the query, the shortest ids first."""
        found = self._users.str.starts_with(query.strip()).to_numpy().nonzero()[0]
        if len(found) > limit and query.strip():
            lengths = self._users.str.len_chars().to_numpy()[found]
            found = found[np.argsort(lengths, kind="stable")]
        return [(self._users[row], row + 1) for row in found[:limit].tolist()]

    def profiles(self, user_rows: Sequence[int]) -> list[dict[str, str]]:
        """What the user table says of some user rows, as text by column."""
        rows: NDArray[np.int32] = np.asarray(user_rows, np.int32)
        if self.user_profiles is None:
            return [{} for _ in user_rows]
        return [
            {column: str(value) for column, value in row.items() if value is not None}
            for row in self.user_profiles[rows].iter_rows(named=True)
        ]


def _first(columns: dict[str, pl.Series], names: Sequence[str]) -> pl.Series | None:
    return next((columns[name] for name in names if name in columns), None)
