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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tastemap.data.histories import offsets_of
from tastemap.data.vocabulary import Id
from tastemap.errors import DataError
from tastemap.online.precomputed import GROUP, Precomputed, Prepared, Tile
from tastemap.retrieval.recommender import Recommender
from tastemap.storage.atomic import unfinished_file

__all__ = ["PrecomputedFile", "writing_file"]

FORMAT = 1
_ABOUT = b"tastemap.precomputed"
_COLUMNS = ["user", "item", "rank", "score", "source"]
_REMEDY = "Make it anew with `tastemap batch`"


@contextmanager
def writing_file(
    out: Path, asked: Recommender, *, k: int, release: str, offset: int
) -> Iterator[Callable[[Tile], None]]:
    """What writes tiles to a file. It stands at `out` when the block has ended well, and what stood
    there before stays until then.

    Args:
        asked: whose ids come.
        k: items of each user, at most.
        release, offset: see `Prepared`.

    Raises:
        ReleaseError: another process is writing the same file.
    """
    about = {"release": release, "event_log_offset": offset, "format": FORMAT, "k": k}
    schema = pa.schema(
        [
            ("user", asked.users.ids_array.type),
            ("item", asked.items.ids_array.type),
            ("rank", pa.int32()),
            ("score", pa.float32()),
            ("source", pa.string()),
        ],
        metadata={_ABOUT: json.dumps(about).encode()},
    )
    options = {"compression": "zstd", "write_page_checksum": True}
    with unfinished_file(out) as file, pq.ParquetWriter(file, schema, **options) as writer:

        def write(tile: Tile) -> None:
            table = _table(tile).cast(schema)
            for first in range(0, len(tile.users), GROUP):
                last = min(first + GROUP, len(tile.users))
                begin, end = tile.offsets[[first, last]].tolist()
                if end > begin:
                    writer.write_table(table.slice(begin, end - begin), row_group_size=end - begin)

        yield write


def _table(tile: Tile) -> pa.Table:
    owners = np.repeat(np.arange(len(tile.users)), np.diff(tile.offsets))
    rank = np.arange(len(owners)) - tile.offsets[owners] + 1
    columns = [
        tile.users.take(pa.array(owners)),
        tile.items,
        pa.array(rank.astype(np.int32)),
        pa.array(tile.scores),
        tile.sources,
    ]
    return pa.table(dict(zip(_COLUMNS, columns, strict=True)))


@dataclass(frozen=True, eq=False)
class _Group:
    """The answers of some users, sorted: those of `users[i]` stand at offsets[i]:offsets[i+1]."""

    users: list[Any]
    offsets: NDArray[np.int64]
    answers: pl.DataFrame


class PrecomputedFile(Precomputed):
    """Answers of such a file.

    The file is mapped into memory. Some of the last row groups that were looked at are kept
    decoded (a few megabytes). Any thread may ask. A file that takes its place does no harm: this
    one stays readable, and `renewed` gives the other.

    Args:
        path: what `writing_file` wrote.

    Raises:
        DataError: there is none, it is damaged, or not such a file.

    Attributes:
        release, offset: see `Prepared`.
        k: items of each user, at most.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            self._identity = _identity(path)
            footer = self._file.metadata
            about = json.loads((footer.metadata or {})[_ABOUT])
            if about["format"] > FORMAT:
                raise DataError(
                    "was written by a newer tastemap", source=path, remedy="Upgrade tastemap"
                )
            self.release, self.offset = str(about["release"]), int(about["event_log_offset"])
            self.k = int(about["k"])
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

    def renewed(self) -> PrecomputedFile:
        try:
            same = _identity(self.path) == self._identity
        except OSError:
            same = False
        return self if same else PrecomputedFile(self.path)

    def find(self, users: Sequence[str], release: str) -> list[Prepared | None]:
        return [self._of(user) for user in users]

    def forget(self, user: str, releases: Sequence[str]) -> None:
        """Does nothing: a file is made anew after a removal."""

    def close(self) -> None:
        self._file.close()

    def _of(self, user: str) -> Prepared | None:
        id_ = self._as_id(user)
        number = -1 if id_ is None else bisect_right(self._starts, id_) - 1
        if id_ is None or number < 0:
            return None
        group = self._group(number)
        place = bisect_right(group.users, id_) - 1
        if group.users[place] != id_:
            return None
        start, stop = group.offsets[place : place + 2].tolist()
        answers = group.answers.slice(start, stop - start)
        return Prepared(
            self.release,
            self.offset,
            answers["item"].to_list(),
            answers["score"].to_numpy(),
            answers["source"].to_list(),
        )

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
