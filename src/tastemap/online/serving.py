"""One release at work: its pipeline, what users did since, and what things are called."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.online.catalogue import Catalogue, ItemCard
from tastemap.online.cold_start import Knowledge, Known
from tastemap.online.drift import Drifts
from tastemap.online.events import Event, News
from tastemap.online.following import Following
from tastemap.online.item_updates import ItemUpdates, updatable
from tastemap.online.live import LiveState
from tastemap.online.newcomers import Newcomers
from tastemap.online.questions import (
    Ask,
    Found,
    Question,
    SimilarTo,
    Suggestion,
    UnknownItemError,
)
from tastemap.online.reasons import (
    FITS,
    because_of,
    by_itself,
    chosen,
    of_friends,
    popular_with,
    resembles,
    similar_to,
)
from tastemap.online.tokens import MAX_SHOWN, item_hash
from tastemap.online.trending import Trending
from tastemap.pipeline.pipeline import Pipeline
from tastemap.pipeline.stages import DIRECT, NOT_ASKED, StageError, Stages
from tastemap.retrieval.recommender import Recommendations

__all__ = ["Like", "Serving"]


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
        key: what stands for a user's id (`EventReader.key`).
        made: when the release was made, Unix seconds; now by default.
        following: how it follows what happens.

    Attributes:
        item_updates: the item vectors of each model that has some which follow what happens.
        drifts: of what is asked and answered.
        newest: the time of the newest event that answers look at; None for a release without times
            and before the first one.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        version: str,
        key: Callable[[str], bytes],
        *,
        made: float | None = None,
        following: Following | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.version = version
        self.made = time.time() if made is None else made
        self.live = LiveState(pipeline.data, key)
        self.catalogue = Catalogue(pipeline.data)
        following = Following() if following is None else following
        self.newcomers = Newcomers(pipeline, self.catalogue, key, share=following.newcomers)
        self.item_updates = [
            ItemUpdates(pipeline, model, self.live, self.newcomers, drift=following.item_drift)
            for model in (updatable(pipeline) if following.item_drift > 0 else [])
        ]
        self._trending = Trending(len(pipeline.items), following.half_life)
        self._knowledge = Knowledge(pipeline, self.live, self.catalogue, self.newcomers)
        self.drifts = Drifts(pipeline.data.item_counts)
        self._uncounted: deque[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float32]]]
        self._uncounted = deque()
        # Found now, and not while the first event waits for it.
        pipeline.data.usual_value(pipeline.data.usual_kind)
        times = pipeline.data.histories.times
        self.newest = float(times.max()) if pipeline.data.has_times and len(times) else None

    def lay(self, news: News) -> None:
        """Lays what the log tells over the release."""
        self.newcomers.change(news.items)
        self.newcomers.forget(news.forgotten)
        self.live.forget(news.forgotten)
        self.add(news.events)

    def refresh(self) -> None:
        """Does what need not be done at once with each event; called every few seconds, on a thread
        beside that which answers."""
        self.newcomers.refresh()
        uncounted = [self._uncounted.popleft() for _ in range(len(self._uncounted))]
        if uncounted:
            self.pipeline.add(*map(np.concatenate, zip(*uncounted, strict=True)))
        for updates in self.item_updates:
            self.newcomers.shelf = updates.refresh(self.newcomers.shelf)
        if self._trending.changed:
            self._trending.changed = False
            self.pipeline.follow(*self._trending.takes())
            self._popular = self._found_popular()

    def add(self, events: Sequence[Event]) -> None:
        """Lays events over the release."""
        for updates in self.item_updates:
            updates.add(events)
        self.live.add(events)
        self.newcomers.add(events)
        times = [event.time for event in events]
        if times:
            self.newest = max(times if self.newest is None else [self.newest, *times])
        events = [event for event in events if event.is_history]
        items = self.add_takes(events)
        moments = np.array([event.time for event in events])
        values = np.array([event.value for event in events], np.float32)
        # Counted every few seconds, so that what rankers make of items holds so long.
        self._uncounted.append((items, moments, values))

    def add_takes(self, events: Sequence[Event]) -> NDArray[np.int32]:
        """Counts events of histories for what is popular now, and for that alone; gives the item
        rows, int32 [m]."""
        items = self.pipeline.items.rows([event.item for event in events])
        times = np.array([event.time for event in events], np.float64)
        self._trending.add([event.user for event in events], items, times)
        return items

    @cached_property
    def like(self) -> Like:
        """How this release's data says that somebody likes something."""
        data = self.pipeline.data
        h = data.histories
        least = float(np.median(h.values)) if h.n_events else 1.0
        strongest = h.kinds[int(h.values.argmax())] if h.n_events else 0
        return Like(data.kind_names[strongest], data.liking_value, least)

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

    def card(self, item: str) -> ItemCard:
        """What is shown of an item of the release, or of a new one.

        Raises:
            UnknownItemError: it is neither.
        """
        if item in self.newcomers:
            return self.newcomers.card(item)
        return self.catalogue.item(int(self.require_items([item])[0]))

    def check(self, batch: Sequence[Event]) -> None:
        """Raises UnknownItemError where an event is of an item that is neither new nor held by the
        release."""
        rows = self.pipeline.items.rows([event.item for event in batch])
        for index in np.flatnonzero(rows == 0).tolist():
            if batch[index].item not in self.newcomers:
                raise UnknownItemError(batch[index].item, index)

    def known(self, asks: Sequence[Ask]) -> Known:
        """What is known of those who ask; for questions that have been answered before."""
        return self._knowledge.of(asks)

    def answer(
        self, questions: Sequence[Question], stages: Stages = DIRECT
    ) -> list[Found | Exception]:
        """Answers questions of all sorts, each sort as one batch. A question that cannot be
        answered as it stands has an UnknownItemError or a BadAskError for an answer.

        What a history names and nobody knows counts for nothing (`unknown_items`)."""
        asks = [question for question in questions if isinstance(question, Ask)]
        items = [question for question in questions if isinstance(question, SimilarTo)]
        replies: dict[type, Iterator[Found | Exception]] = {
            Ask: iter(self._asked(asks, stages) if asks else []),
            SimilarTo: iter(self._similar(items, stages) if items else []),
        }
        return [next(replies[type(question)]) for question in questions]

    def _asked(self, asked: Sequence[Ask], stages: Stages) -> list[Found | Exception]:
        answers: list[Found | Exception | None] = [self._knowledge.check(ask) for ask in asked]
        good = np.array([place for place, wrong in enumerate(answers) if wrong is None], np.int64)
        if len(good):
            known = self._knowledge.of([asked[place] for place in good.tolist()])
            for stand_in in (False, True):
                rows = np.flatnonzero(known.stand_in == stand_in)
                if len(rows):
                    some = [asked[place] for place in good[rows].tolist()]
                    links = [known.links[row] for row in rows.tolist()]
                    everybody = len(rows) == len(good)
                    queries = known.queries if everybody else known.queries.take(rows)
                    found = self._recommended(some, links, queries, stand_in, stages)
                    for place, answer in zip(good[rows].tolist(), found, strict=True):
                        answers[place] = answer
        return [answer for answer in answers if answer is not None]

    def _recommended(
        self,
        asked: Sequence[Ask],
        links: Sequence[str],
        queries: Queries,
        stand_in: bool,
        stages: Stages,
    ) -> list[Found]:
        k = max(ask.k for ask in asked)
        found = self.pipeline.answer(
            queries, k, not stand_in, self.newcomers.available, stages=stages
        )
        try:
            because = stages.run("reasons", self.pipeline.because, queries, found)
        except StageError:
            because = np.zeros(len(found.items), np.int32)
        self.drifts.add(queries.histories.items, found.scores)
        liked = queries.histories.values >= self.like.least
        lists = []
        for row, (ask, link) in enumerate(zip(asked, links, strict=True)):
            events = slice(queries.histories.offsets[row], queries.histories.offsets[row + 1])
            likes = set(queries.histories.items[events][liked[events]].tolist())
            best = _first(found, row, ask.k)
            # Known items that stand for new ones: nobody said that they like those.
            unsaid = stand_in and link == "history"
            items = [
                Suggestion(
                    self.catalogue.item(item),
                    score,
                    source := found.source_names[source_code],
                    self._reason(ask, link, source, 0 if unsaid else reason, reason in likes),
                )
                for item, score, source_code, reason in zip(
                    found.items[best].tolist(),
                    found.scores[best].tolist(),
                    found.sources[best].tolist(),
                    because[best].tolist(),
                    strict=True,
                )
            ]
            lists.append(items)
        return [Found(items, link, self.version) for items, link in zip(lists, links, strict=True)]

    def with_newcomers(
        self,
        questions: Sequence[Question],
        answers: Sequence[Found | Exception],
        stages: Stages = DIRECT,
    ) -> list[Found | Exception]:
        """Answers in which some places have gone to new items, whoever made them and when. Those
        that could not be made at all stay as they are."""
        joined = list(answers)
        asked = [
            (place, question, answer)
            for place, (question, answer) in enumerate(zip(questions, answers, strict=True))
            if isinstance(question, Ask)
            and isinstance(answer, Found)
            and "answer" not in answer.degraded
        ]
        if not asked or not self.newcomers.shelf:
            return joined
        with suppress(StageError):
            lists = stages.run(
                "newcomers",
                self.newcomers.join,
                [ask for _, ask, _ in asked],
                lambda asks: self.known(asks).queries,
                [answer.items for _, _, answer in asked],
            )
            for (place, _, answer), items in zip(asked, lists, strict=True):
                joined[place] = replace(answer, items=items)
        return joined

    def _reason(self, ask: Ask, link: str, source: str, because: int, liked: bool) -> str:
        if (said := by_itself(source)) is not None:
            return said
        if link == "profile" and ask.tastes:
            return chosen(ask.tastes)
        if because:
            label = self.catalogue.item(because).label
            return of_friends(label) if link == "friends" else because_of(label, liked=liked)
        return FITS

    def suggestions(self, found: Recommendations, row: int, k: int) -> list[Suggestion]:
        """The first k items of a row, where nothing was asked about what speaks for them."""
        best = _first(found, row, k)
        names = [found.source_names[code] for code in found.sources[best].tolist()]
        return [
            Suggestion(self.catalogue.item(item), score, name, by_itself(name) or FITS)
            for item, score, name in zip(
                found.items[best].tolist(), found.scores[best].tolist(), names, strict=True
            )
        ]

    def _similar(self, asked: Sequence[SimilarTo], stages: Stages) -> list[Found | Exception]:
        rows = self.pipeline.items.rows([question.item for question in asked])
        try:
            found = stages.run(
                "similar",
                self.pipeline.similar_rows,
                rows,
                max(question.k for question in asked),
                self.newcomers.available,
            )
        except StageError:
            found = None
        answers: list[Found | Exception] = []
        for place, (question, row) in enumerate(zip(asked, rows.tolist(), strict=True)):
            if row == 0:
                answers.append(self._similar_to_new(question))
                continue
            if found is None:
                answers.append(self.popular(question))
                continue
            best = _first(found, place, question.k)
            reason = similar_to(self.catalogue.item(row).label)
            items = [
                Suggestion(self.catalogue.item(item), score, "similar", reason)
                for item, score in zip(
                    found.items[best].tolist(), found.scores[best].tolist(), strict=True
                )
            ]
            answers.append(Found(items, "item", self.version))
        return answers

    def _similar_to_new(self, question: SimilarTo) -> Found | UnknownItemError:
        """What is like an item that the release does not hold, by what is known of it; what is
        popular where nothing is like it, or it was announced only now."""
        if question.item not in self.newcomers:
            return UnknownItemError(question.item, 0)
        rows, weights = self.newcomers.neighbours(question.item)
        able = self.shown_to_anybody()
        if able is not None:
            rows, weights = rows[able[rows]], weights[able[rows]]
        if len(rows) == 0:
            return self.popular(question)
        reason = resembles(self.newcomers.card(question.item).label)
        items = [
            Suggestion(self.catalogue.item(row), weight, "content", reason)
            for row, weight in zip(rows.tolist(), weights.tolist(), strict=True)
        ]
        return Found(items[: question.k], "item", self.version)

    @cached_property
    def _popular(self) -> dict[int, Suggestion]:
        """By item row."""
        return self._found_popular()

    def _found_popular(self) -> dict[int, Suggestion]:
        stranger = Queries.of(Histories.empty(1))
        # No retriever is asked: one that hangs would hold up whoever calls this.
        found = self.pipeline.answer(
            stranger, MAX_SHOWN, among=self.shown_to_anybody(), stages=NOT_ASKED
        )
        reason = popular_with("popularity")
        return {
            item: Suggestion(self.catalogue.item(item), score, "popularity", reason)
            for item, score in zip(found.items.tolist(), found.scores.tolist(), strict=True)
        }

    def shown_to_anybody(self) -> NDArray[np.bool_] | None:
        """What the rules show whoever asks and was not taken away, bool [item rows]; None for
        all."""
        policy, available = self.pipeline.policy, self.newcomers.available
        return available if policy is None else policy.strictest(available)

    def popular(self, question: Question) -> Found:
        """The answer where no other can be given: what is popular, found beforehand."""
        hidden: set[int] = set()
        if isinstance(question, Ask) and question.shown is not None:
            hidden = set(question.shown.tolist())
        # What has sold out since was found beforehand.
        able = self.shown_to_anybody()
        items = [
            one
            for row, one in self._popular.items()
            if (able is None or able[row]) and item_hash(one.card.item) not in hidden
        ]
        return Found(items[: question.k], "popularity", self.version)

    def warm_up(self) -> None:
        """Compiles and finds beforehand what the first questions need, so that nobody waits."""
        item = str(self.pipeline.items.ids([1])[0])
        asks = [Ask(1, user="\0"), Ask(1, history=(item,))]
        self.answer([*asks, SimilarTo(item, 1)])
        self.popular(asks[0])
        self.drifts = Drifts(self.pipeline.data.item_counts)


def _first(found: Recommendations, row: int, k: int) -> slice:
    """Where the first k items of a row stand."""
    start, stop = found.offsets[row : row + 2].tolist()
    return slice(start, min(stop, start + k))
