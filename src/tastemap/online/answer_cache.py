"""Answers that are given again: to the same question, by the same release, while the user has done
nothing since."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from tastemap.errors import UnavailableError
from tastemap.online.breaker import Breaker
from tastemap.online.questions import Ask, Found, Question, Suggestion, UnknownItemError
from tastemap.online.redis_state import RedisState
from tastemap.online.serving import Serving
from tastemap.online.state import Asked, LocalState, State

__all__ = ["AnswerCache", "CacheOptions", "Memo"]

log = logging.getLogger("tastemap.online")

T = TypeVar("T")

STATE_BYTES = 256 << 20
CACHE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where answers are remembered, and for how long.

    Attributes:
        redis: the address of a Redis that all servers share (see `RedisState`); None for a memory
            of each process.
        seconds: for which an answer is given again.
        limit: bytes of a process's own memory.
    """

    redis: str | None = None
    seconds: float = CACHE_SECONDS
    limit: int = STATE_BYTES

    def open(self) -> AnswerCache:
        """The cache.

        Raises:
            ParameterError: an option is out of its range, or the address makes no sense.
            MissingExtraError: the client of Redis is not installed.
        """
        if self.redis is None:
            return AnswerCache(LocalState(limit=self.limit, lifetime=self.seconds))
        return AnswerCache(RedisState(self.redis, lifetime=self.seconds))


@dataclass(frozen=True, slots=True)
class Memo:
    """What is remembered of a question.

    Attributes:
        asked: what it is remembered under; None where it is not to be remembered.
        token: to be handed back with the answer that is remembered; None where it cannot be now.
        found: the answer, None where there is none.
    """

    asked: Asked | None = None
    token: bytes | None = None
    found: Found | None = None


_NOTHING = Memo()


class AnswerCache:
    """Answers in a `State`, which may fail or be away: then there is none, and nobody waits.

    An answer is remembered under the release, the request and all that the user did since the
    release, so it is found only by a process that knows of the same events. No process gives from
    here what an event that it knows has made old, be the state reached at the moment of the event
    or not, and whichever process took the event. That what is old is removed as well
    (`outdated`) only saves memory.

    What the events of others change, such as counters of the ranker, is up to the lifetime old.

    What is remembered is what the release says; new items, which are shown by chance, are joined to
    it each time anew.

    Not remembered: answers to nobody in particular, pages after the first, answers by friends
    (whose events are others') or by new items, which the request names or which are all that the
    user has taken, answers made without a stage that failed, and any under rules that depend on the
    moment (`Rule.momentary`).

    Args:
        state: where they are; it is closed with the cache.
        pause: seconds for which a state that keeps failing is left alone.

    Attributes:
        observe: called with "hit", "miss" or "failure" (of the state), and how many.
    """

    def __init__(self, state: State, *, pause: float = 2.0) -> None:
        self._state = state
        self._breaker = Breaker(pause=pause)
        self.observe: Callable[[str, int], None] = lambda result, n: None

    def asked(
        self,
        serving: Serving,
        key: Callable[[str], bytes],
        questions: Sequence[Question],
    ) -> list[Asked | None]:
        """What answers to questions are remembered under, None for those that are not. To be called
        while nothing is laid over the release.

        Args:
            key: what stands for a user (`EventReader.key`).
        """
        if any(rule.momentary for rule in serving.pipeline.rules.values()):
            return [None] * len(questions)
        asked: list[Asked | None] = [None] * len(questions)
        asks = {
            place: question
            for place, question in enumerate(questions)
            if isinstance(question, Ask)
            and question.user is not None
            and question.shown is None
            and not question.friends
            and not any(item in serving.newcomers for item in question.history)
        }
        users = [ask.user or "" for ask in asks.values()]
        only_new = serving.live.only_new(users)
        digests = serving.live.digests(users)
        gone = serving.newcomers.withdrawn.hex()
        for (place, ask), user, new, digest in zip(
            asks.items(), users, only_new, digests, strict=True
        ):
            if not new:
                asked[place] = Asked(key(user).hex(), serving.version, digest + _request(ask, gone))
        return asked

    def find(self, serving: Serving, asked: Sequence[Asked | None]) -> list[Memo]:
        """What is remembered."""
        wanted = [each for each in asked if each is not None]
        remembered = self._try(lambda: self._state.answers(wanted)) if wanted else None
        if remembered is None:
            return [_NOTHING] * len(asked)
        values = iter(remembered)
        memos = []
        for each in asked:
            if each is None:
                memos.append(_NOTHING)
                continue
            value, token = next(values)
            memos.append(Memo(each, token, None if value is None else _read(serving, value)))
        hits = sum(memo.found is not None for memo in memos)
        self.observe("hit", hits)
        self.observe("miss", len(wanted) - hits)
        return memos

    def keep(self, answers: Sequence[tuple[Memo, Found]]) -> None:
        """Remembers answers that were missing, without those that are degraded."""
        new = [
            (memo.asked, memo.token, value)
            for memo, found in answers
            if memo.asked is not None and memo.token is not None and not found.degraded
            if (value := _written(found)) is not None
        ]
        if new:
            self._try(lambda: self._state.keep(new))

    def outdated(self, users: Sequence[bytes]) -> None:
        """Removes the answers of users, by their keys, some time after they had an event."""
        self._state.invalidate_later({user.hex() for user in users})

    def forget(self, users: Sequence[bytes]) -> None:
        """Removes all answers of users, by their keys. Where the state is away it is made up for
        when it is back; it keeps nothing for longer than the lifetime of answers."""
        names = [user.hex() for user in users]
        if names and self._try(lambda: self._state.forget(names)) is None:
            self._state.invalidate_later(names)

    def close(self) -> None:
        """Gives back connections."""
        self._state.close()

    def _try(self, call: Callable[[], T]) -> T | None:
        if not self._breaker.allow():
            return None
        opened = self._breaker.opened
        try:
            result = call()
        except Exception as error:
            # An answer made anew is always possible, whatever is wrong with those remembered.
            self._breaker.failed()
            self.observe("failure", 1)
            if self._breaker.opened > opened or not isinstance(error, UnavailableError):
                log.error("answers are not remembered for now: %r", error)
            return None
        self._breaker.succeeded()
        return result


def _request(ask: Ask, gone: str) -> bytes:
    """What is asked, in one way only, where some items are gone."""
    asked = [gone, ask.k, ask.history, ask.profile, ask.context, ask.tastes]
    return json.dumps(asked, sort_keys=True).encode()


def _written(found: Found) -> bytes | None:
    """An answer as bytes; None where JSON cannot say its numbers."""
    if not all(math.isfinite(one.score) for one in found.items):
        return None
    items = [(one.card.item, one.score, one.source, one.reason) for one in found.items]
    return orjson.dumps([found.link, items])


def _read(serving: Serving, value: bytes) -> Found | None:
    """An answer of bytes; None where somebody else has put them there."""
    try:
        link, items = orjson.loads(value)
        rows = serving.require_items([item for item, *_ in items]).tolist() if items else []
        suggestions = [
            Suggestion(serving.catalogue.item(row), score, source, reason)
            for row, (_, score, source, reason) in zip(rows, items, strict=True)
        ]
    except (TypeError, ValueError, UnknownItemError):
        return None
    return Found(suggestions, link, serving.version)
