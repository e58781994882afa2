"""One release at work: its pipeline, what users did since, and what things are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.errors import DataError, UnknownIdError
from tastemap.online.catalogue import Catalogue, ItemCard
from tastemap.online.events import Event
from tastemap.online.live import LiveState
from tastemap.online.reasons import because_of, popular_with, similar_to
from tastemap.pipeline.pipeline import Pipeline
from tastemap.retrieval.recommender import Recommendations

__all__ = [
    "ForHistory",
    "ForUser",
    "Like",
    "Question",
    "Serving",
    "SimilarTo",
    "Suggestion",
    "UnknownItemError",
]


class UnknownItemError(UnknownIdError):
    """An item that the release does not hold.

    Attributes:
        index: its position in the list it came in.
    """

    def __init__(self, item: str, index: int) -> None:
        self.index = index
        super().__init__(f"unknown item: {item[:80]!r}")


@dataclass(frozen=True, slots=True)
class ForUser:
    """What next for a user, by external id, known or not?"""

    user: str
    k: int


@dataclass(frozen=True, slots=True)
class ForHistory:
    """What next for somebody who likes these items, and of whom this much is known?"""

    history: tuple[str, ...]
    k: int
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimilarTo:
    """What is like this item?"""

    item: str
    k: int


Question = ForUser | ForHistory | SimilarTo


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item of an answer."""

    card: ItemCard
    score: float
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Like:
    """The kind and value of an event that says "I like this", in the terms of the release's data.

    Attributes:
        least: a value below this is no like; it is the median of the data.
    """

    kind: str
    value: float
    least: float


class Serving:
    """A pipeline with the live state over it. Answers are given on one thread at a time.

    Args:
        pipeline: a fitted one.
        version: of the release it came from.
    """

    def __init__(self, pipeline: Pipeline, version: str) -> None:
        self.pipeline = pipeline
        self.version = version
        self.live = LiveState(pipeline.data)
        self.catalogue = Catalogue(pipeline.data)

    def add(self, events: Sequence[Event]) -> None:
        """Lays events over the release."""
        self.live.add(events)
        if self.pipeline.stage is None:
            return
        self.pipeline.add(
            self.pipeline.items.rows([event.item for event in events]),
            np.array([event.time for event in events]),
            np.array([event.value for event in events], np.float32),
        )

    @cached_property
    def like(self) -> Like:
        """How this release's data says that somebody likes something."""
        data = self.pipeline.data
        h = data.histories
        least = float(np.median(h.values)) if h.n_events else 1.0
        strongest = h.kinds[int(h.values.argmax())] if h.n_events else 0
        return Like(data.kind_names[strongest], data.liking_value, least)

    @property
    def default_kind(self) -> str:
        """The kind of an event that does not say its kind."""
        kinds = self.pipeline.data.kind_names
        return "view" if "view" in kinds else kinds[0]

    def require_items(self, items: Sequence[str]) -> NDArray[np.int32]:
        """Item rows of external ids.

        Raises:
            UnknownItemError: for the first that the release does not hold.
        """
        rows = self.pipeline.items.rows(items)
        if (rows == 0).any():
            index = int(np.argmin(rows))
            raise UnknownItemError(items[index], index)
        return rows

    def check(self, batch: Sequence[Event]) -> None:
        """Raises UnknownItemError where an event is of an item that the release does not hold."""
        self.require_items([event.item for event in batch])

    def answer(self, questions: Sequence[Question]) -> list[list[Suggestion] | Exception]:
        """Answers questions of all sorts, each sort as one batch."""
        users = [question for question in questions if isinstance(question, ForUser)]
        tastes = [question for question in questions if isinstance(question, ForHistory)]
        items = [question for question in questions if isinstance(question, SimilarTo)]
        replies: dict[type, Iterator[list[Suggestion] | Exception]] = {
            ForUser: iter(self._for_users(users) if users else []),
            ForHistory: iter(self._for_histories(tastes) if tastes else []),
            SimilarTo: iter(self._similar(items) if items else []),
        }
        return [next(replies[type(question)]) for question in questions]

    def _for_users(self, asked: Sequence[ForUser]) -> list[list[Suggestion]]:
        rows, histories = self.live.histories([question.user for question in asked])
        profiles = self.catalogue.user_profiles
        profile = None if profiles is None else profiles[rows]
        queries = Queries.of(histories, users=rows, profile=profile)
        liked = histories.values >= self.like.least
        return self._recommended(queries, liked, [question.k for question in asked])

    def _for_histories(self, asked: Sequence[ForHistory]) -> list[list[Suggestion] | Exception]:
        answers: list[list[Suggestion] | Exception] = []
        histories: list[NDArray[np.int32]] = []
        profiles: list[pl.DataFrame] = []
        for question in asked:
            try:
                profile = self.pipeline.data.profile_of(question.profile)
                histories.append(self.require_items(question.history))
                profiles.append(profile)
                answers.append([])
            except (UnknownItemError, DataError) as error:
                answers.append(error)
        known = [place for place, answer in enumerate(answers) if not isinstance(answer, Exception)]
        if known:
            given = pl.concat(profiles)
            queries = Queries.of(
                Histories.from_lists(histories, values=self.like.value),
                profile=given if given.width else None,
            )
            liked = np.ones(queries.histories.n_events, np.bool_)
            replies = self._recommended(queries, liked, [asked[place].k for place in known])
            for place, reply in zip(known, replies, strict=True):
                answers[place] = reply
        return answers

    def _recommended(
        self, queries: Queries, liked: NDArray[np.bool_], ks: Sequence[int]
    ) -> list[list[Suggestion]]:
        found = self.pipeline.answer(queries, max(ks))
        because = self.pipeline.because(queries, found)
        answers = []
        for row, k in enumerate(ks):
            events = slice(queries.histories.offsets[row], queries.histories.offsets[row + 1])
            likes = set(queries.histories.items[events][liked[events]].tolist())
            best = _first(found, row, k)
            answers.append(
                [
                    Suggestion(
                        self.catalogue.item(item),
                        score,
                        found.source_names[source],
                        self._reason(found.source_names[source], reason, reason in likes),
                    )
                    for item, score, source, reason in zip(
                        found.items[best].tolist(),
                        found.scores[best].tolist(),
                        found.sources[best].tolist(),
                        because[best].tolist(),
                        strict=True,
                    )
                ]
            )
        return answers

    def _reason(self, source: str, because: int, liked: bool) -> str:
        if because:
            return because_of(self.catalogue.item(because).label, liked=liked)
        if source.partition(":")[0] == "popularity":
            return popular_with(source)
        return "Fits what you liked so far"

    def _similar(self, asked: Sequence[SimilarTo]) -> list[list[Suggestion] | Exception]:
        rows = self.pipeline.items.rows([question.item for question in asked])
        found = self.pipeline.similar_rows(rows, max(question.k for question in asked))
        answers: list[list[Suggestion] | Exception] = []
        for place, (question, row) in enumerate(zip(asked, rows.tolist(), strict=True)):
            if row == 0:
                answers.append(UnknownItemError(question.item, 0))
                continue
            best = _first(found, place, question.k)
            reason = similar_to(self.catalogue.item(row).label)
            answers.append(
                [
                    Suggestion(self.catalogue.item(item), score, "similar", reason)
                    for item, score in zip(
                        found.items[best].tolist(), found.scores[best].tolist(), strict=True
                    )
                ]
            )
        return answers


def _first(found: Recommendations, row: int, k: int) -> slice:
    """Where the first k items of a row stand."""
    start, stop = found.offsets[row : row + 2].tolist()
    return slice(start, min(stop, start + k))
