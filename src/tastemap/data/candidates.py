"""What stage one proposes for each query, and which source said what of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import offsets_of, ranges
from tastemap.errors import ParameterError

__all__ = ["Candidates"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The items proposed for each query, a ragged row each, without repeats.

    Attributes:
        offsets: int64 [B+1]; row i is the slice offsets[i]:offsets[i+1] of the other arrays.
        items: int32 [m], item rows.
        scores: float32 [m, sources], as each source scored the item; NaN where it did not propose
            it.
        ranks: float32 [m, sources], from 1, the item's place in the list of each source; NaN where
            it is not in it. They stay when some candidates are left out.
        source_names: names of the sources.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    ranks: NDArray[np.float32]
    source_names: tuple[str, ...]

    @classmethod
    def of_source(
        cls,
        name: str,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        scores: NDArray[np.float32],
    ) -> Candidates:
        """The lists of one source, best first: `items` and `scores` are [m]."""
        ranks = np.arange(1, len(items) + 1) - np.repeat(offsets[:-1], np.diff(offsets))
        columns = scores.astype(np.float32)[:, None], ranks.astype(np.float32)[:, None]
        return cls(offsets, items, *columns, (name,))

    @classmethod
    def without_sources(cls, offsets: NDArray[np.int64], items: NDArray[np.int32]) -> Candidates:
        """Items [m] that nobody proposed, such as those of events."""
        nothing = np.empty((len(items), 0), np.float32)
        return cls(offsets, items, nothing, nothing, ())

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """What any of several sources proposed for the same queries, by item row within a query.

        Raises:
            ParameterError: no part, parts of different queries, or two sources of one name.
        """
        names = [name for part in parts for name in part.source_names]
        if not parts or len({len(part) for part in parts}) > 1 or len(set(names)) < len(names):
            raise ParameterError(
                "candidates are joined from sources of different names for the same queries, got "
                f"{names} for {[len(part) for part in parts]} queries"
            )
        pairs = [part.rows_of_queries() << 32 | part.items for part in parts]
        if len(parts) == 1:
            return parts[0]._of_pairs(parts[0].offsets, np.argsort(pairs[0]))
        unique, place = np.unique(np.concatenate(pairs), return_inverse=True)
        scores = np.full((len(unique), len(names)), np.nan, np.float32)
        ranks = np.full((len(unique), len(names)), np.nan, np.float32)
        first_column = first_pair = 0
        for part in parts:
            rows = place[first_pair : first_pair + len(part.items)]
            columns = slice(first_column, first_column + len(part.source_names))
            scores[rows, columns], ranks[rows, columns] = part.scores, part.ranks
            first_column, first_pair = columns.stop, first_pair + len(rows)
        offsets = np.searchsorted(unique, np.arange(len(parts[0]) + 1) << 32).astype(np.int64)
        return cls(offsets, (unique & 0xFFFFFFFF).astype(np.int32), scores, ranks, tuple(names))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Candidates of each query, int64 [B]."""
        return self.offsets[1:] - self.offsets[:-1]

    def rows_of_queries(self) -> NDArray[np.int64]:
        """The query that each candidate belongs to, int64 [m]."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, rows: NDArray[Any]) -> Candidates:
        """The candidates of some queries, in the order asked for; queries may repeat."""
        counts = self.counts[rows]
        return self._of_pairs(offsets_of(counts), ranges(self.offsets[rows], counts))

    def slice(self, start: int, stop: int) -> Candidates:
        """Those of queries start:stop, as views."""
        first, last = self.offsets[start], self.offsets[stop]
        return self._of_pairs(self.offsets[start : stop + 1] - first, np.s_[first:last])

    def tiles(self, size: int) -> Iterator[tuple[int, int]]:
        """Ranges of queries with about `size` candidates each (more where one query has more)."""
        start = 0
        while start < len(self):
            enough = np.searchsorted(self.offsets, self.offsets[start] + size, side="right") - 1
            stop = max(start + 1, min(int(enough), len(self)))
            yield start, stop
            start = stop

    def select(self, keep: NDArray[np.bool_]) -> Candidates:
        """The candidates where `keep` (bool [m]) holds; the number of queries stays."""
        running = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        return self._of_pairs(running[self.offsets], np.flatnonzero(keep))

    def _of_pairs(self, offsets: NDArray[np.int64], index: Any) -> Candidates:
        return Candidates(
            offsets, self.items[index], self.scores[index], self.ranks[index], self.source_names
        )
