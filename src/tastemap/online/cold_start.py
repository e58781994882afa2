"""What is known of those who ask, and what an answer can go by: a chain of five links.

`history` of one event or more → `profile`, chosen values of the item table or attributes of the
user → `context` of the request → `friends`, the histories of others → `popularity`. Each question
goes by the first link that says something, and what it leaves open is filled by what is popular.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries, rows_of
from tastemap.errors import DataError
from tastemap.online.catalogue import Catalogue
from tastemap.online.clock import now
from tastemap.online.live import LiveState
from tastemap.online.newcomers import Newcomers
from tastemap.online.questions import Ask
from tastemap.online.tastes import Tastes
from tastemap.pipeline.pipeline import Pipeline

__all__ = ["BadAskError", "Knowledge", "Known"]

_NONE = np.empty(0, np.int32)
# A friend with a thousand events is one friend too.
_OF_A_FRIEND = 10
# So many new items of a history are looked at, the newest.
_NEW = 50
# Of so many known items most like a new one, the one that most people have taken stands for it: of
# that models know most.
_LIKE = 10


class BadAskError(DataError):
    """A question that cannot be answered as it stands.

    Attributes:
        field: of the question: "profile", "context" or "tastes".
    """

    def __init__(self, field: str, error: DataError) -> None:
        self.field = field
        super().__init__(error.problem, column=error.column, value=error.value, remedy=error.remedy)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of some who ask.

    Attributes:
        queries: [B]; the history is their own, or that which stands for them.
        links: what each answer goes by, [B].
        stand_in: bool [B], whether the history is not their own, so that what is in it may come.
    """

    queries: Queries
    links: list[str]
    stand_in: NDArray[np.bool_]


class Knowledge:
    """Makes queries of questions.

    Args:
        pipeline: what will be asked.
        live: what users did since.
        catalogue: of the pipeline's data.
        newcomers: items that the pipeline does not hold, and that histories may name.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        live: LiveState,
        catalogue: Catalogue,
        newcomers: Newcomers,
    ) -> None:
        self._pipeline = pipeline
        self._data = pipeline.data
        self._live = live
        self._catalogue = catalogue
        self._newcomers = newcomers
        self._tastes = Tastes(pipeline.data)

    def check(self, ask: Ask) -> BadAskError | None:
        """What is wrong with a question, None where it can be answered."""
        try:
            # Most say nothing of the kind, and even an empty row takes its time.
            if ask.profile:
                _checked("profile", lambda: self._data.profile_of(ask.profile))
            if ask.context:
                _checked("context", lambda: self._pipeline.context_of(ask.context))
            if ask.tastes:
                _checked("tastes", lambda: self._tastes.items(ask.tastes))
        except BadAskError as error:
            return error
        return None

    def of(self, asks: Sequence[Ask]) -> Known:
        """What is known of those who ask; the questions have been checked."""
        rows, histories = self._live.histories([ask.user or "" for ask in asks])
        given = [self._items(ask) for ask in asks]
        if any(len(items) for items in given):
            histories = histories.append(self._newest(given, histories))
        queries = Queries(
            rows,
            histories,
            np.full(len(asks), np.inf),
            self._profiles(asks, rows),
            self._contexts(asks),
            self._hidden(asks),
        )
        cold = np.flatnonzero(histories.counts == 0)
        links = ["history"] * len(asks)
        stand_in = np.zeros(len(asks), np.bool_)
        if len(cold) == 0:
            return Known(queries, links, stand_in)
        by = self._pipeline.links(queries.take(cold))
        taken = self._live.only_new([asks[place].user or "" for place in cold.tolist()])
        stand_ins = list(given)  # nothing was given where there is no history
        for place, link, new in zip(cold.tolist(), by, taken, strict=True):
            links[place], stand_ins[place] = self._link(asks[place], link, new)
            stand_in[place] = len(stand_ins[place]) > 0
        if stand_in.any():
            others = [
                items if alone else _NONE
                for items, alone in zip(stand_ins, stand_in.tolist(), strict=True)
            ]
            together = histories.append(self._newest(others, histories))
            queries = replace(queries, histories=together)
        return Known(queries, links, stand_in)

    def _link(self, ask: Ask, link: str, taken: Sequence[str]) -> tuple[str, NDArray[np.int32]]:
        """The first link that says something of one without a history, who has taken some items
        that the release does not hold, and the items that stand for one."""
        new = [item for item in (*taken, *ask.history) if item in self._newcomers][-_NEW:]
        like = [self._newcomers.neighbours(item)[0][:_LIKE] for item in new]
        if any(map(len, like)):
            # Of new items models know nothing: known ones that are like them stand for them.
            counts = self._data.item_counts
            best = [rows[counts[rows].argmax()] for rows in like if len(rows)]
            return "history", np.unique(np.array(best, np.int32))
        chosen = self._tastes.items(ask.tastes)
        if len(chosen):
            return "profile", chosen
        if link != "popularity":
            return link, _NONE
        if ask.friends:
            _, theirs = self._live.histories(ask.friends)
            if theirs.n_events:
                newest = [theirs.items_of(row)[-_OF_A_FRIEND:] for row in range(len(theirs))]
                return "friends", np.unique(np.concatenate(newest))
        return "popularity", _NONE

    def _items(self, ask: Ask) -> NDArray[np.int32]:
        if not ask.history:
            return _NONE
        rows = self._data.items.rows(ask.history)
        return rows[rows > 0]

    def _newest(self, items: Sequence[NDArray[np.int32]], histories: Histories) -> Histories:
        """Items as events that say "I like this", as new as the newest of some histories."""
        last = np.zeros(len(histories))
        some = np.flatnonzero(histories.counts)
        last[some] = histories.times[histories.offsets[some + 1] - 1]
        times = [np.full(len(row), moment) for row, moment in zip(items, last, strict=True)]
        return Histories.from_lists(items, times=times, values=self._data.liking_value)

    def _profiles(self, asks: Sequence[Ask], rows: NDArray[np.int32]) -> pl.DataFrame | None:
        of_users = self._catalogue.user_profiles
        if not any(ask.profile for ask in asks):
            return None if of_users is None else rows_of(of_users, rows)
        frames = []
        for ask, row in zip(asks, rows.tolist(), strict=True):
            frame = self._data.profile_of(ask.profile)
            if of_users is not None and row:
                frame = frame.with_columns(
                    of_users[row : row + 1][name]
                    for name in frame.columns
                    if name not in ask.profile
                )
            frames.append(frame)
        return pl.concat(frames)

    def _contexts(self, asks: Sequence[Ask]) -> pl.DataFrame | None:
        if not any(ask.context for ask in asks):
            return None
        return pl.concat([self._pipeline.context_of(ask.context) for ask in asks])

    def _hidden(self, asks: Sequence[Ask]) -> Histories | None:
        skipped = self._live.passed_over([ask.user or "" for ask in asks], now())
        if all(ask.shown is None for ask in asks):
            return skipped
        hidden = [
            _NONE if ask.shown is None else self._catalogue.rows_of_hashes(ask.shown)
            for ask in asks
        ]
        shown = Histories.from_lists(hidden)
        return shown if skipped is None else shown.append(skipped)


def _checked(field: str, check: Callable[[], object]) -> None:
    try:
        check()
    except DataError as error:
        raise BadAskError(field, error) from None
