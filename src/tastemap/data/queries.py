"""What is known at the moment of asking, and what then came true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.histories import Histories

__all__ = ["Holdout", "Queries", "rows_of"]

# So many rows are quicker put together one by one.
_FEW = 16


@dataclass(frozen=True, eq=False)
class Queries:
    """A batch of questions "what next?", a row each.

    Attributes:
        users: int32 [B], user rows; 0 for a stranger.
        histories: what each one did before the moment of asking, [B].
        as_of: float64 [B], the moment of asking in Unix seconds; inf means now.
        profile: user attributes, B rows, or None.
        context: the circumstances of the request, B rows, or None.
        hidden: items that are not wanted and are no part of the history, such as those on the pages
            before, [B], or None.
    """

    users: NDArray[np.int32]
    histories: Histories
    as_of: NDArray[np.float64]
    profile: pl.DataFrame | None = None
    context: pl.DataFrame | None = None
    hidden: Histories | None = None

    @classmethod
    def of(
        cls,
        histories: Histories,
        *,
        users: NDArray[np.int32] | None = None,
        as_of: NDArray[np.float64] | None = None,
        profile: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
        hidden: Histories | None = None,
    ) -> Queries:
        """Queries of histories; strangers who ask now, where nothing else is said."""
        n = len(histories)
        return cls(
            np.zeros(n, np.int32) if users is None else users,
            histories,
            np.full(n, np.inf) if as_of is None else as_of,
            profile,
            context,
            hidden,
        )

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[Any]) -> Queries:
        """Some of the queries, in the order asked for."""
        return Queries(
            self.users[rows],
            self.histories.take(rows),
            self.as_of[rows],
            None if self.profile is None else rows_of(self.profile, rows),
            None if self.context is None else rows_of(self.context, rows),
            None if self.hidden is None else self.hidden.take(rows),
        )

    def slice(self, start: int, stop: int) -> Queries:
        """Queries start:stop, as views."""
        return Queries(
            self.users[start:stop],
            self.histories.slice(start, stop),
            self.as_of[start:stop],
            None if self.profile is None else self.profile[start:stop],
            None if self.context is None else self.context[start:stop],
            None if self.hidden is None else self.hidden.slice(start, stop),
        )

    def excluded(self, exclude_seen: bool) -> Histories | None:
        """What may not come out, [B]: what is hidden, and the history where that is wanted."""
        if not exclude_seen:
            return self.hidden
        return self.histories if self.hidden is None else self.histories.append(self.hidden)

    def tiles(self, size: int) -> Iterator[tuple[int, Queries]]:
        """The queries in tiles of at most `size`, each with the number of its first row."""
        for start in range(0, len(self), size):
            yield start, self.slice(start, min(start + size, len(self)))


@dataclass(frozen=True, eq=False)
class Holdout:
    """Queries and what came true.

    Attributes:
        queries: [B].
        truth: the next items of each query with their times and values, [B].
    """

    queries: Queries
    truth: Histories

    def __len__(self) -> int:
        return len(self.queries)


def rows_of(frame: pl.DataFrame, rows: NDArray[Any]) -> pl.DataFrame:
    """The rows of a frame at places `rows`, int [k] from 0.

    Polars hands any gathering, and any `concat`, to its threads and waits for them, which takes as
    long as some milliseconds where the machine is busy. A request has a row or a few, and those are
    slices, stacked.
    """
    if not 0 < len(rows) <= _FEW:
        return frame[rows]
    first, *others = (frame.slice(row, 1) for row in rows.tolist())
    for other in others:
        first.vstack(other, in_place=True)
    return first
