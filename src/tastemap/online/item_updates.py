"""Item vectors that follow the log: the closed form from those who took an item, within a bound.

All of it is a function of the log alone: a user's vector is that of their history up to the event,
and an item is solved anew whenever those who took it since the release have grown by a quarter. So
processes that have read as far say the same, whenever they did so, and an approximate index, in
which a replaced vector leaves a tombstone, grows little.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Queries
from tastemap.index.remote import RemoteIndex
from tastemap.online.events import Event
from tastemap.online.live import LiveState
from tastemap.online.shelf import Shelf
from tastemap.pipeline.pipeline import Pipeline
from tastemap.retrieval.als import ALS
from tastemap.retrieval.parts.item_fold_in import ItemFoldIn, bounded, encoded

__all__ = ["ItemUpdates", "updatable"]

# The first events after the release; beyond so many it is time for another training.
_EVENTS = 200_000
# Those that one beat takes up.
_AT_ONCE = 5_000


def _settled() -> list[int]:
    """So many who took an item let it be solved: each number a quarter more than the last."""
    numbers = [1]
    while numbers[-1] < 500:
        numbers.append(numbers[-1] + max(1, numbers[-1] // 4))
    return numbers


_SETTLED = _settled()


class _Take(NamedTuple):
    """Somebody took an item.

    Attributes:
        item: its row, or the id of one that the release does not hold.
        n_later: how many events the user then had beside those of the release, with this one.
    """

    user: str
    item: int | str
    n_later: int
    value: float


@dataclass(eq=False)
class _Takers:
    """Those who took an item since the release: their vectors and confidences, and how many of them
    it was last solved for."""

    vectors: list[NDArray[np.float32]]
    confidences: list[float]
    solved: int = 0

    @property
    def settled(self) -> int:
        """How many it is to be solved for."""
        return _SETTLED[bisect_right(_SETTLED, len(self.vectors)) - 1] if self.vectors else 0


class ItemUpdates:
    """The item vectors of one model of a pipeline, as they follow the log.

    Events are noted on one thread at a time, and taken up behind that by `refresh`. The model stays
    as it is, and so do the vectors of those who ask: what is moved is where its index finds items,
    and the vectors of new items on the shelf.

    Args:
        pipeline: of the release, whose index of the model gets the vectors.
        model: one of its retrievers.
        live: what users did since; events are noted here before they are laid there.
        newcomers: ids of items that the release does not hold and that may be taken.
        drift: how far a vector may go from the released one, as a share of its length. An item
            without events in the release may have a vector as long as the median of the others.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        model: ALS,
        live: LiveState,
        newcomers: Container[str],
        *,
        drift: float,
    ) -> None:
        self._pipeline, self._model, self._live = pipeline, model, live
        self._newcomers = newcomers
        self._drift = drift
        self._waiting: deque[_Take] = deque()
        self._noted = 0
        self._takers: dict[int | str, _Takers] = {}
        self._met: set[tuple[str, str]] = set()
        self._fold_in: ItemFoldIn | None = None
        self._typical = 0.0
        self._drifts: dict[int | str, float] = {}
        self._shelf: Shelf | None = None
        self._moved_shelf: Shelf | None = None

    @property
    def behind(self) -> int:
        """Events that are noted and not taken up yet."""
        return len(self._waiting)

    @property
    def updated(self) -> int:
        """How many items have another vector than the release's."""
        return len(self._drifts)

    @property
    def largest(self) -> float:
        """The largest drift of them, as a share."""
        return max(list(self._drifts.values()), default=0.0)

    def add(self, events: Sequence[Event]) -> None:
        """Notes events, as they come, before they are laid over the release."""
        events = [event for event in events if event.is_history]
        rows = self._pipeline.items.rows([event.item for event in events])
        later: dict[str, int] = {}
        for event, row in zip(events, rows.tolist(), strict=True):
            if row == 0 and event.item not in self._newcomers:
                continue
            if self._noted == _EVENTS:
                return
            self._noted += 1
            if event.user not in later:
                later[event.user] = self._live.n_later(event.user)
            later[event.user] += row > 0
            self._waiting.append(
                _Take(event.user, row or event.item, later[event.user], event.value)
            )

    def refresh(self, shelf: Shelf | None) -> Shelf | None:
        """Takes up what was noted, some thousands of events at most.

        Args:
            shelf: of new items, as the release says or as this gave it.

        Returns:
            The shelf with the vectors of those of its items that somebody took.
        """
        takes = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
        if self._fold_in is None:
            # Even where nobody took anything yet, lest it take its time from those who then ask.
            self._fold_in = ItemFoldIn(self._model)
            vectors = self._model.item_vectors()
            lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
            self._typical = float(np.median(lengths[lengths > 0])) if lengths.any() else 0.0
        if takes:
            self._solve_known(self._take(takes))
        return self._joined(shelf)

    def _take(self, takes: Sequence[_Take]) -> list[int | str]:
        """Adds those who took an item, but for those who had it already; gives the items."""
        histories = self._live.histories_at(
            [take.user for take in takes], [take.n_later for take in takes]
        )
        queries = Queries.of(histories)
        vectors = encoded(self._model, queries)
        confidences = self._model.confidences(np.array([take.value for take in takes], np.float32))
        counts = self._model.knows(queries) & (confidences > 0)
        for place in np.flatnonzero(counts).tolist():
            take = takes[place]
            takers = self._takers.setdefault(take.item, _Takers([], []))
            if len(takers.vectors) < _SETTLED[-1] and not self._had(
                take, histories.items_of(place)
            ):
                takers.vectors.append(vectors[place])
                takers.confidences.append(float(confidences[place]))
        return list(dict.fromkeys(take.item for take in takes))

    def _had(self, take: _Take, history: NDArray[np.int32]) -> bool:
        """Whether somebody had taken the item before, where that says nothing more."""
        if self._model.weighs:
            return False
        if isinstance(take.item, int):
            return int(np.count_nonzero(history == take.item)) > 1
        pair = (take.user, take.item)
        if pair in self._met:
            return True
        self._met.add(pair)
        return False

    def _solve_known(self, items: Sequence[int | str]) -> None:
        """New vectors for those of some items that the release holds and that are due, into the
        index."""
        released = self._model.item_vectors()
        rows, vectors = [], []
        for item in items:
            takers = self._takers.get(item)
            if isinstance(item, int) and takers is not None and takers.settled > takers.solved:
                rows.append(item)
                vectors.append(self._solved(item, takers, released[item]))
        if rows:
            index = self._pipeline.searched(self._model)
            index.add(np.array(rows, np.int32), np.array(vectors, np.float32))

    def _solved(
        self, item: int | str, takers: _Takers, before: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        assert self._fold_in is not None
        n = takers.solved = takers.settled
        row = item if isinstance(item, int) else 0
        found = self._fold_in.vector(
            row,
            before,
            np.array(takers.vectors[:n]),
            np.array(takers.confidences[:n], np.float32),
        )
        length = float(np.linalg.norm(before))
        # Without a vector there is nothing to go from, but a length that others have.
        most = self._drift * length if length > 0 else self._typical
        after = bounded(found, before, most)
        moved = float(np.linalg.norm(after.astype(np.float64) - before))
        self._drifts[item] = moved / length if length > 0 else 0.0
        return after

    def _joined(self, shelf: Shelf | None) -> Shelf | None:
        if shelf is None or shelf.vectors is None or shelf.retriever is not self._model:
            return shelf
        other = shelf is not self._moved_shelf
        if other:
            self._shelf = shelf
        assert self._shelf is not None and self._shelf.vectors is not None
        taken = {
            place: takers
            for place, item in enumerate(shelf.ids)
            if (takers := self._takers.get(item)) is not None and takers.settled
        }
        due = [place for place, takers in taken.items() if other or takers.settled > takers.solved]
        if not due:
            return shelf
        vectors = shelf.vectors.copy()
        for place in due:
            vectors[place] = self._solved(
                shelf.ids[place], taken[place], self._shelf.vectors[place]
            )
        self._moved_shelf = replace(shelf, vectors=vectors)
        return self._moved_shelf


def updatable(pipeline: Pipeline) -> list[ALS]:
    """The retrievers of a pipeline whose item vectors have a closed form and can be replaced where
    they are looked for; an index on a server is others' too."""
    return [
        retriever
        for retriever in pipeline.retrievers
        if isinstance(retriever, ALS)
        and not isinstance(pipeline.indices.get(retriever.name), RemoteIndex)
    ]
