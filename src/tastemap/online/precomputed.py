"""Answers that are made in advance for everybody, and what newer events leave of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tastemap.data.histories import Histories, offsets_of
from tastemap.data.tombstones import is_tombstone
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.retrieval.recommender import Recommendations, Recommender

__all__ = ["GROUP", "Precomputed", "Prepared", "Tile", "corrected", "precompute"]

GROUP = 256
"""So many users, or their multiples, are written at a time."""
_TILE = 16 * GROUP


@dataclass(frozen=True, eq=False)
class Prepared:
    """What was made in advance for one user.

    Attributes:
        release: the version of the release that made it.
        offset: of the last event of the log that it looks at.
        items: ids [n], best first.
        scores: float32 [n].
        sources: names [n].
    """

    release: str
    offset: int
    items: list[Id]
    scores: NDArray[np.float32]
    sources: list[str]


class Precomputed(Protocol):
    """Where such answers are. Any thread may ask."""

    def find(self, users: Sequence[str], release: str) -> list[Prepared | None]:
        """What there is for some users; None where there is nothing.

        Args:
            users: ids.
            release: the version whose answers are wanted; where there are only those of another
                one, they are given.

        Raises:
            DataError: what holds them is damaged.
            UnavailableError: it cannot be reached in time.
        """

    def forget(self, user: str, releases: Sequence[str]) -> None:
        """Removes what some releases made for a user, where single users can be removed.

        Raises:
            UnavailableError: it cannot be reached; nothing is known to be removed.
        """

    def renewed(self) -> Precomputed:
        """What stands in its place now; itself, where nothing else does.

        Raises:
            DataError: what stands there is damaged, or nothing does.
        """

    def close(self) -> None:
        """Gives back files and connections."""


@dataclass(frozen=True, eq=False)
class Tile:
    """Answers for some users, who are sorted by id.

    Attributes:
        users: ids [n].
        offsets: int64 [n+1]; user u's answers are the slice offsets[u]:offsets[u+1].
        items: ids [m], best first for each user.
        scores: float32 [m].
        sources: names [m].
    """

    users: pa.Array
    offsets: NDArray[np.int64]
    items: pa.Array
    scores: NDArray[np.float32]
    sources: pa.Array


def precompute(
    asked: Recommender,
    write: Callable[[Tile], object],
    *,
    k: int,
    users: NDArray[np.int32] | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Writes the best k items of users, tile by tile, so that memory does not grow with them.

    Args:
        asked: by its histories, and without what is in these.
        write: takes the tiles, by ascending ids. All but the last have a multiple of `GROUP` users.
        users: user rows; all by default, but for those who were removed.
        progress: told how many users are done.

    Returns:
        The number of answers.
    """
    ids = asked.users.ids_array
    if users is None:
        known = [not is_tombstone(str(id_)) for id_ in ids.to_pylist()]
        users = np.flatnonzero(known).astype(np.int32) + 1
    rows = np.unique(users)
    rows = rows[pc.sort_indices(ids.take(pa.array(rows - 1))).to_numpy()].astype(np.int32)
    written = 0
    for start in range(0, len(rows), _TILE):
        tile = rows[start : start + _TILE]
        found = asked.answer(asked.data.queries(tile), k)
        write(
            Tile(
                asked.users.take(tile),
                found.offsets,
                asked.items.take(found.items),
                found.scores,
                found.source_series().to_arrow(),
            )
        )
        written += len(found.items)
        if progress is not None:
            progress(start + len(tile))
    return written


def corrected(
    prepared: Sequence[Prepared | None],
    excluded: Histories,
    k: int,
    items: Vocabulary,
    among: NDArray[np.bool_] | None = None,
) -> Recommendations:
    """The best k items of answers that were made in advance, without what must not come now.

    Args:
        prepared: of B users; None gives no item.
        excluded: what each did up to now, or must not see, [B], in rows of `items`.
        k: for each user; fewer come where fewer are left.
        items: the vocabulary to answer in; items that it does not know are left out.
        among: bool [item rows], the items that may come out; None for all.
    """
    names: dict[str, int] = {}
    rows, scores, sources = [np.empty(0, np.int32)], [np.empty(0, np.float32)], [0][:0]
    counts = np.zeros(len(prepared), np.int64)
    for place, answers in enumerate(prepared):
        if answers is None:
            continue
        found = items.rows(answers.items)
        kept = (found > 0) & ~np.isin(found, excluded.items_of(place))
        if among is not None:
            kept &= among[found]
        best = np.flatnonzero(kept)[:k]
        rows.append(found[best])
        scores.append(answers.scores[best])
        sources += [names.setdefault(answers.sources[each], len(names)) for each in best.tolist()]
        counts[place] = len(best)
    return Recommendations(
        offsets_of(counts),
        np.concatenate(rows),
        np.concatenate(scores),
        np.array(sources, np.uint8),
        tuple(names),
    )
