"""Answers that were made in advance, in a file that is looked into and never loaded as a whole.

A Parquet file with a row for each answer: user, item, rank (from 1), score, source; sorted by user
and rank. A row group holds whole users, 256 of them, so that the footer's statistics say where a
user stands: one bisection and one row group to read. Any tool for Parquet reads it too.
"""

from __future__ import annotations

import json
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tastemap.data.histories import Histories, offsets_of
from tastemap.data.tombstones import is_tombstone
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.errors import DataError
from tastemap.retrieval.recommender import Recommendations, Recommender
from tastemap.storage.atomic import unfinished_file

__all__ = ["Precomputed", "precompute"]

FORMAT = 1
_ABOUT = b"tastemap.precomputed"
_COLUMNS = ["user", "item", "rank", "score", "source"]
_GROUP = 256
_TILE = 16 * _GROUP
_REMEDY = "Make it anew with `tastemap batch`"


_NOTHING = pl.DataFrame(schema={"item": pl.String, "score": pl.Float32, "source": pl.String})


def precompute(
    asked: Recommender,
    out: Path,
    *,
    k: int,
    users: NDArray[np.int32] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Writes the best k items of users, tile by tile, so that memory does not grow with them.

    The file stands at `out` when it is whole, and what stood there before stays until then.

    Args:
        asked: by its histories, and without what is in these.
        users: user rows; all by default, but for those who were removed.
        about: what to say of it, such as the release's version.
        progress: told how many users are done.

    Returns:
        The number of answers.

    Raises:
        ReleaseError: another process is writing the same file.
    """
    ids = asked.users.ids_array
    if users is None:
        known = [not is_tombstone(str(id_)) for id_ in ids.to_pylist()]
        users = np.flatnonzero(known).astype(np.int32) + 1
    rows = np.unique(users)
    rows = rows[pc.sort_indices(ids.take(pa.array(rows - 1))).to_numpy()].astype(np.int32)
    schema = pa.schema(
        [
            ("user", ids.type),
            ("item", asked.items.ids_array.type),
            ("rank", pa.int32()),
            ("score", pa.float32()),
            ("source", pa.string()),
        ],
        metadata={_ABOUT: json.dumps({**(about or {}), "format": FORMAT, "k": k}).encode()},
    )
    written = 0
    options = {"compression": "zstd", "write_page_checksum": True}
    with unfinished_file(out) as file, pq.ParquetWriter(file, schema, **options) as writer:
        for start in range(0, len(rows), _TILE):
            tile = rows[start : start + _TILE]
            found = asked.answer(asked.data.queries(tile), k)
            table = _table(asked, tile, found, schema)
            for first in range(0, len(tile), _GROUP):
                last = min(first + _GROUP, len(tile))
                begin, end = found.offsets[[first, last]].tolist()
                if end > begin:
                    writer.write_table(table.slice(begin, end - begin), row_group_size=end - begin)
            written += len(found.items)
            if progress is not None:
                progress(start + len(tile))
    return written


def _table(
    asked: Recommender, rows: NDArray[np.int32], found: Recommendations, schema: pa.Schema
) -> pa.Table:
    owners = np.repeat(np.arange(len(rows)), found.counts)
    rank = np.arange(len(found.items)) - found.offsets[owners] + 1
    columns = [
        asked.users.take(rows[owners]),
        asked.items.take(found.items),
        pa.array(rank.astype(np.int32)),
        pa.array(found.scores),
        found.source_series().to_arrow(),
    ]
    return pa.table(dict(zip(_COLUMNS, columns, strict=True))).cast(schema)


@dataclass(frozen=True, eq=False)
class _Group:
    """The answers of some users, sorted: those of `users[i]` stand at offsets[i]:offsets[i+1]."""

    users: list[Any]
    offsets: NDArray[np.int64]
    answers: pl.DataFrame


class Precomputed:
    """Answers of such a file, corrected by what the users did since.

    The file is mapped into memory. Some of the last row groups that were looked at are kept
    decoded (a few megabytes). Any thread may ask. A file that takes its place does no harm:
    this one stays readable, and `replaced` says so.

    Args:
        path: what `precompute` wrote.

    Raises:
        DataError: there is none, it is damaged, or not such a file.

    Attributes:
        about: what was said of it, such as "release" and "event_log_offset".
        k: items of each user, at most.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            self._identity = _identity(path)
            footer = self._file.metadata
            self.about: dict[str, Any] = json.loads((footer.metadata or {})[_ABOUT])
            if self.about["format"] > FORMAT:
                raise DataError(
                    "was written by a newer tastemap", source=path, remedy="Upgrade tastemap"
                )
            self.k = int(self.about["k"])
            if self._file.schema_arrow.names != _COLUMNS:
                raise KeyError("columns")
            groups = [footer.row_group(i).column(0) for i in range(footer.num_row_groups)]
            self._starts: list[Any] = [group.statistics.min for group in groups]
        except FileNotFoundError:
            raise DataError("there is no such file", source=path, remedy=_REMEDY) from None
        except (KeyError, TypeError, ValueError, AttributeError, OSError, pa.ArrowException):
            raise DataError(
                "is not a whole file of answers made in advance", source=path, remedy=_REMEDY
            ) from None
        self._integers = pa.types.is_integer(self._file.schema_arrow.field("user").type)
        self._reading = threading.Lock()
        self._group = lru_cache(maxsize=16)(self._read)

    @property
    def replaced(self) -> bool:
        """Whether another file stands in its place, or none."""
        try:
            return _identity(self.path) != self._identity
        except FileNotFoundError:
            return True

    def answer(
        self,
        users: Sequence[str],
        histories: Histories,
        k: int,
        items: Vocabulary,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        """The best k items of each user that they do not have yet.

        Args:
            users: B ids; for one that the file does not hold there is no item.
            histories: what each did up to now, [B], in rows of `items`.
            k: for each user; fewer come where fewer are left.
            items: the vocabulary to answer in; items that it does not know are left out.
            among: bool [item rows], the items that may come out; None for all.

        Raises:
            DataError: the file is damaged.
        """
        names: dict[str, int] = {}
        found: list[tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]] = []
        for place, user in enumerate(users):
            answers = self._of(user)
            rows = items.rows(answers["item"].to_list())
            kept = (rows > 0) & ~np.isin(rows, histories.items_of(place))
            if among is not None:
                kept &= among[rows]
            best = np.flatnonzero(kept)[:k]
            sources = [names.setdefault(name, len(names)) for name in answers["source"]]
            scores = answers["score"].to_numpy()
            found.append((rows[best], scores[best], np.array(sources, np.uint8)[best]))
        if not found:
            found = [(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.uint8))]
        counts = np.array([len(each[0]) for each in found][: len(users)], np.int64)
        rows, scores, sources_of = (np.concatenate(column) for column in zip(*found, strict=True))
        return Recommendations(offsets_of(counts), rows, scores, sources_of, tuple(names))

    def _of(self, user: str) -> pl.DataFrame:
        """The rows of a user, by rank."""
        id_ = self._as_id(user)
        number = -1 if id_ is None else bisect_right(self._starts, id_) - 1
        if id_ is None or number < 0:
            return _NOTHING
        group = self._group(number)
        place = bisect_right(group.users, id_) - 1
        if group.users[place] != id_:
            return _NOTHING
        start, stop = group.offsets[place : place + 2].tolist()
        return group.answers.slice(start, stop - start)

    def _as_id(self, user: str) -> Id | None:
        if not self._integers:
            return user
        # As in a vocabulary of integers: the plain decimal text alone.
        plain = len(user) <= 20 and user.isascii() and user.removeprefix("-").isdecimal()
        return int(user) if plain and str(int(user)) == user else None

    def _read(self, number: int) -> _Group:
        try:
            with self._reading:
                table = self._file.read_row_group(number)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"is damaged ({error})", source=self.path, remedy=_REMEDY) from None
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        runs = frame["user"].rle().struct
        lengths = runs.field("len").to_numpy().astype(np.int64)
        return _Group(
            runs.field("value").to_list(), offsets_of(lengths), frame.drop("user", "rank")
        )


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
