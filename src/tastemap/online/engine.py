"""The release being served and the event log, held together; and the swap to a newer release."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tastemap.errors import ReleaseError, TastemapError
from tastemap.online.answer_cache import AnswerCache
from tastemap.online.event_log import EventLog
from tastemap.online.events import Event, ItemChange, Position, Recorded
from tastemap.online.following import Following
from tastemap.online.guard import Guard
from tastemap.online.hybrid import Hybrid
from tastemap.online.log_file import StateError
from tastemap.online.questions import Found, Question
from tastemap.online.serving import Serving
from tastemap.online.unknown_items import naming_unknown
from tastemap.online.watchdog import Tally, Watchdog
from tastemap.release import (
    Forgetting,
    Loaded,
    ReleaseStore,
    UnsearchedError,
    forget_in,
    load_release,
)
from tastemap.storage import read_directory, read_manifest

__all__ = ["Engine", "Removal"]

log = logging.getLogger("tastemap.online")

STAGE_SECONDS = 1.0
_RECENT = 100_000


@dataclass(frozen=True)
class Removal:
    """What was removed of a user.

    Attributes:
        events: how many events of the log.
        releases: from which releases, and what.
        unsearched: by release what is wrong with those that nobody knows whom they hold of.
    """

    events: int
    releases: list[Forgetting]
    unsearched: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """Answers from one release, and swaps to the next while it works.

    Events go to the log, and from there over the histories of the release: before each batch of
    answers the engine takes up what is new in the log, whichever process wrote it. A new release is
    loaded beside the old one, gets the whole log laid over it, and takes its place between two such
    readings, so that no event is missed or counted twice.

    Args:
        release: a release store, a saved pipeline, or a saved model.
        events: the event log, which stays the caller's to close.
        stage_seconds: how long a stage of an answer may take.
        following: how the release follows what happens.
        cache: remembers answers, and stays the caller's to close; None to make each anew.
        hybrid: answers made in advance, which stay the caller's to close; None for none.

    Raises:
        ReleaseError: there is no release that can be served.
    """

    def __init__(
        self,
        release: Path,
        events: EventLog,
        *,
        stage_seconds: float = STAGE_SECONDS,
        following: Following | None = None,
        cache: AnswerCache | None = None,
        hybrid: Hybrid | None = None,
    ) -> None:
        self._path = release
        self.events = events
        self.cache = cache
        self.hybrid = hybrid
        self.guard = Guard(stage_seconds)
        self._how = following
        self._following = threading.Lock()
        self._version = -1
        self._refused: str | None = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.problem: str | None = None
        self._tally = Tally()
        self.watchdog = Watchdog(lambda: self._tally.total)
        self._before: str | None = None
        self.serving, self._position = self._first()

    def _first(self) -> tuple[Serving, Position]:
        """What the store serves, or, where that cannot be served, the nearest one before it that
        can: who starts now answers like those who were at work when it was published.

        Raises:
            ReleaseError: there is none.
        """
        try:
            return self._prepare(load_release(self._path))
        except StateError:
            raise
        except Exception as error:
            if not ReleaseStore.is_store(self._path):
                raise
            store = ReleaseStore(self._path)
            for version in store.ways_back():
                with suppress(Exception):
                    found = self._prepare(load_release(self._path, version))
                    self._keep(found[0], store.current_or_none(), error)
                    return found
            raise

    def _prepare(self, loaded: Loaded) -> tuple[Serving, Position]:
        """A release ready to answer, with how much of the log it reflects."""
        manifest = read_manifest(loaded.path)
        serving = Serving(
            loaded.pipeline(),
            loaded.version,
            self.events.key,
            made=manifest.created.timestamp(),
            following=self._how,
        )
        # Before it is asked with a deadline.
        serving.warm_up()
        # A release made from data that held part of the log already says how far.
        seen = manifest.contents.get("event_log_offset", 0)
        # What is popular now goes on from release to release.
        recent = self.events.recent(seen, _RECENT)
        serving.add_takes([event for event in recent if event.is_history])
        position = self._lay(serving, Position(seen))
        # Who was forgotten lives by the log alone, so by its part before that as well.
        serving.add(self.events.returned(seen))
        serving.refresh()
        return serving, position

    def _lay(self, serving: Serving, position: Position) -> Position:
        """Lays what the log tells behind a position over a release; gives the new position."""
        for news in self.events.news(position):
            serving.lay(news)
            if self.cache is not None:
                self.cache.forget(news.forgotten)
            position = news.position
        return position

    def catch_up(self) -> None:
        """Takes up what any process has written to the log since the last time. Where the log
        cannot be read, answers without the newest events are better than none."""
        with self._following:
            try:
                version = self.events.version()
                if version != self._version:
                    self._position = self._lay(self.serving, self._position)
                    self._version = version
            except StateError as error:
                log.error("%s", error)

    def answer(self, questions: Sequence[Question]) -> list[Found | Exception]:
        """Answers a batch of questions from one release, by all that the log holds.

        Stages that fail or are late are left out, and if all fails, what is popular is the answer.
        """
        return self._tally.counted(
            lambda asked: self.guard.complete(lambda: self._answered(asked)), questions
        )

    def _answered(self, questions: Sequence[Question]) -> list[Found | Exception]:
        self.catch_up()
        serving = self.serving
        answers: list[Found | Exception | None] = [None] * len(questions)
        if self.hybrid is not None:
            answers[:] = self.hybrid.answer(serving, questions, self.guard)
        places = [place for place, answer in enumerate(answers) if answer is None]
        if places:
            left = self._remembered_or_made(serving, [questions[place] for place in places])
            for place, answer in zip(places, left, strict=True):
                answers[place] = answer
        attempt = self.guard.attempt()
        found = [answer for answer in answers if answer is not None]
        found = serving.with_newcomers(questions, found, attempt)
        return _without(attempt.failed, naming_unknown(serving, questions, found))

    def _remembered_or_made(
        self, serving: Serving, questions: Sequence[Question]
    ) -> list[Found | Exception]:
        if self.cache is None:
            return self._answer(serving, questions)
        # While nothing is laid over it, lest it be remembered as newer than it is.
        with self._following:
            asked = self.cache.asked(serving, self.events.key, questions)
        memos = self.cache.find(serving, asked)
        answers: list[Found | Exception | None] = [memo.found for memo in memos]
        places = [place for place, answer in enumerate(answers) if answer is None]
        if places:
            made = self._answer(serving, [questions[place] for place in places])
            new = []
            for place, answer in zip(places, made, strict=True):
                answers[place] = answer
                if isinstance(answer, Found):
                    new.append((memos[place], answer))
            self.cache.keep(new)
        return [answer for answer in answers if answer is not None]

    def _answer(self, serving: Serving, questions: Sequence[Question]) -> list[Found | Exception]:
        """Answers made anew."""
        attempt = self.guard.attempt()
        try:
            answers = serving.answer(questions, attempt)
        except Exception:
            log.exception("a batch of %d questions failed", len(questions))
            attempt.failed.append("answer")
            answers = [serving.popular(question) for question in questions]
        if not attempt.failed:
            return answers
        if self.hybrid is not None and not _vital(serving).isdisjoint(attempt.failed):
            instead = self.hybrid.stand_in(serving, questions, self.guard)
            answers = [
                other or answer if isinstance(answer, Found) else answer
                for answer, other in zip(answers, instead, strict=True)
            ]
        return _without(attempt.failed, answers)

    def record(self, batches: Sequence[Sequence[Event]]) -> list[Recorded | Exception]:
        """Records batches of events; once this returns they are on the disk and in the answers.

        The results are, for each batch, what became of it, or why all of it was refused:
        UnknownItemError or IdConflictError.

        Raises:
            StateError: the log cannot be written; nothing was recorded.
        """
        results: list[Recorded | Exception] = [Recorded([], 0)] * len(batches)
        good = []
        for place, batch in enumerate(batches):
            try:
                self.serving.check(batch)
                good.append(place)
            except TastemapError as error:
                results[place] = error
        written = self.events.append([batches[place] for place in good])
        for place, result in zip(good, written, strict=True):
            results[place] = result
        self.catch_up()
        if self.cache is not None:
            users = {event.user for place in good for event in batches[place]}
            self.cache.outdated([self.events.key(user) for user in users])
        return results

    def change_items(self, changes: Sequence[ItemChange]) -> None:
        """Announces items or takes them away, which have been checked. Once this returns it is on
        the disk, events of new items are accepted, and what was taken away is in no answer of this
        process, nor, from their next batch on, of others.

        Raises:
            StateError: nothing was changed; the log cannot be written.
        """
        self.events.change_items(changes)
        self.catch_up()

    def forget(self, user: str) -> Removal:
        """Removes all traces of a user: the events of the log, what every process that follows the
        log knows, and what the releases hold of them (see `forget_in`), but for those that are
        damaged, which the removal names. All else is done when this returns; called again after a
        failure, or when a damaged release has been mended or deleted, it does the rest.

        Raises:
            StateError: the log cannot be written.
            ReleaseError: a release cannot be written. The user is unknown already.
        """
        removed = self.events.forget(user)
        self.catch_up()
        if self.hybrid is not None:
            # Before the releases of the store change their versions.
            self.hybrid.forget(user, self._versions())
        if ReleaseStore.is_store(self._path):
            try:
                return Removal(removed, ReleaseStore(self._path).forget_user(user))
            except UnsearchedError as error:
                log.error("a user was removed, but for: %s", error)
                return Removal(removed, error.found, error.unsearched)
        done = forget_in(read_directory(self._path), self._path, user)
        return Removal(removed, [] if done is None else [done])

    def watch(self, seconds: float) -> None:
        """Looks every few seconds, on a thread, whether the store serves another release, and what
        is new in the log that need not be in the very next answer."""

        def look() -> None:
            while not self._stop.wait(seconds):
                self.follow()
                self.refresh()

        self._watcher = threading.Thread(target=look, name="release-watch", daemon=True)
        self._watcher.start()

    def refresh(self) -> None:
        """Makes ready to be shown what the log tells of new items."""
        self.catch_up()
        if self.hybrid is not None:
            self.hybrid.renew()
        try:
            self.serving.refresh()
        except Exception:
            # Answers go on by what there was before.
            log.exception("what the log tells could not be taken up")

    def follow(self) -> None:
        """Swaps to the release that the store serves, if it is another one.

        One that cannot be loaded is refused: the old one goes on, and `problem` says why. One
        that can, and then answers worse than the one before (`watchdog`), is refused in the store,
        for all who serve from it, and the one before comes back.
        """
        if not ReleaseStore.is_store(self._path):
            return
        version = None
        try:
            if (reason := self.watchdog.bad(time.monotonic())) is not None:
                self._go_back(reason)
            version = ReleaseStore(self._path).current_version()
            if version == self._refused:
                return
            if version != self.serving.version:
                began = time.perf_counter()
                self._swap(load_release(self._path, version))
                log.info("now serving %s (%.1f s)", version, time.perf_counter() - began)
            self._refused = self.problem = None
        except Exception as error:
            # Whatever is wrong with the new release, the old one must go on.
            self._keep(self.serving, version, error)

    def _keep(self, serving: Serving, refused: str | None, error: Exception) -> None:
        """Says that a release stays at work, since another one cannot be served."""
        self._refused = refused
        problem = f"kept release {serving.version}: {error}"
        if problem != self.problem:
            log.error("%s", problem, exc_info=not isinstance(error, TastemapError))
        self.problem = problem

    def _swap(self, loaded: Loaded) -> None:
        serving, position = self._prepare(loaded)
        with self._following:
            self._position = self._lay(serving, position)
            self._before = self.serving.version
            self.serving = serving
        self.guard.renew()
        self.watchdog.swapped(time.monotonic())

    def _go_back(self, reason: str) -> None:
        """Has the store serve the release before the one at work."""
        bad = self.serving.version
        log.error("refused %s: %s", bad, reason)
        try:
            ReleaseStore(self._path).refuse(bad, reason)
        except ReleaseError as error:
            # Where the store cannot be written, this process at least goes back.
            self._swap(load_release(self._path, self._before))
            self._refused = bad
            self.problem = f"serving {self.serving.version} in place of {bad}: {error}"

    def close(self) -> None:
        """Ends the watching."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)

    def _versions(self) -> list[str]:
        """Of all releases that there are here."""
        if not ReleaseStore.is_store(self._path):
            return [self.serving.version]
        return [release.version for release in ReleaseStore(self._path).list()]


def _vital(serving: Serving) -> set[str]:
    """The stages without which an answer is worse than one that was made in advance."""
    return {"answer", "ranker", *(retriever.name for retriever in serving.pipeline.retrievers)}


def _without(failed: list[str], answers: Sequence[Found | Exception]) -> list[Found | Exception]:
    """Answers that say which stages they were made without."""
    return [
        replace(answer, degraded=(*answer.degraded, *failed))
        if failed and isinstance(answer, Found)
        else answer
        for answer in answers
    ]
