"""What serving remembers beside the event log: answers, counters, and histories of live users.

All of it can be made anew from releases and the log, so it may be lost at any time.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tastemap.errors import ParameterError

__all__ = ["Asked", "Found", "LocalState", "State"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question whose answer is remembered.

    Attributes:
        user: the external id.
        release: the version that answers.
        request: all else that the answer depends on, written in one way only.
    """

    user: str
    release: str
    request: bytes

    @property
    def digest(self) -> bytes:
        """16 bytes that stand for release and request."""
        release = self.release.encode("utf-8", "surrogatepass")
        length = len(release).to_bytes(8, "little")
        return hashlib.blake2b(length + release + self.request, digest_size=16).digest()


class Found(NamedTuple):
    """What is remembered.

    Attributes:
        value: None where there is nothing.
        token: to be handed back with what is then remembered in its place. It is worth nothing once
            the user has had another event, so that nothing older than that event is remembered.
    """

    value: bytes | None
    token: bytes


class State(Protocol):
    """What may be remembered, in this process or in one that several machines share.

    A history is remembered from `begin` on, and absent before. What is absent has to be taken from
    the log, after it was looked up here: an event between the look and `begin` undoes the token.

    Any number of threads may use it. Every method makes one round trip at most, `keep` none.

    Raises:
        UnavailableError: by each method; what is kept elsewhere cannot be reached in time.
    """

    def answers(self, asked: Sequence[Asked]) -> list[Found]:
        """The answers that are remembered."""

    def keep(self, answers: Sequence[tuple[Asked, bytes, bytes]]) -> None:
        """Remembers answers for some time: the question, the token that was found, the value. It is
        not waited for, so that it failed may go unsaid."""

    def invalidate(self, users: Iterable[str]) -> None:
        """Forgets all answers of users who have had an event. Where that fails it is made up for
        before anything more is looked up here, and others see old answers until they expire."""

    def invalidate_later(self, users: Iterable[str]) -> None:
        """As `invalidate`, but waits for nothing: it is done with the next call that succeeds."""

    def count(self, increments: Mapping[str, int]) -> None:
        """Adds to counters; a new one starts from 0."""

    def counts(self, names: Sequence[str]) -> list[int]:
        """The values of counters."""

    def histories(self, users: Sequence[str]) -> list[Found]:
        """The histories that are remembered: what `begin` and `append` gave, end to end."""

    def begin(self, histories: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Remembers histories that were absent: the user, the token that was found, the value."""

    def append(self, parts: Sequence[tuple[str, bytes]]) -> None:
        """Puts each part behind the user's history where there is one. Where that fails the history
        is forgotten before anything more is looked up here."""

    def drop(self, users: Iterable[str]) -> None:
        """Forgets the histories of users."""

    def forget(self, users: Iterable[str]) -> None:
        """Forgets all that is remembered of users; it is gone when this returns."""

    def close(self) -> None:
        """Gives back connections."""


# What CPython 3.11 to 3.13 takes for the objects and their places in dictionaries, about.
_USER, _ANSWERS, _ANSWER, _HISTORY, _COUNTER = 340, 190, 110, 90, 150


@dataclass(slots=True)
class _User:
    answers: dict[bytes, bytes] = field(default_factory=dict)
    answers_token: bytes = b""
    answers_until: float = 0.0
    history: bytes | None = None
    history_token: bytes = b""
    history_until: float = 0.0
    size: int = _USER

    def begin_answers(self, token: bytes, until: float) -> None:
        self.answers_token, self.answers_until = token, until
        self.size += _ANSWERS

    def keep_answer(self, digest: bytes, value: bytes) -> None:
        before = self.answers.get(digest)
        self.answers[digest] = value
        self.size += len(value) + (_ANSWER if before is None else -len(before))

    def drop_answers(self) -> None:
        if self.answers_token:
            self.size -= sum(map(len, self.answers.values())) + _ANSWER * len(self.answers)
            self.size -= _ANSWERS
            self.answers = {}
            self.answers_token = b""

    def set_history(self, history: bytes, until: float) -> None:
        self.drop_history()
        self.history, self.history_until = history, until
        self.size += _HISTORY + len(history)

    def drop_history(self) -> None:
        if self.history is not None:
            self.size -= _HISTORY + len(self.history)
            self.history = None


class LocalState:
    """The state of one process, within a limit of bytes.

    What is over the limit goes: first the users not looked up, or written, for longest, then such
    counters. Bytes are those of the values and ids, and for each object about what CPython takes
    for it; the whole is right to a fifth.

    Args:
        limit: bytes.
        lifetime: seconds for which answers are remembered, from the user's first on.
        history_lifetime: seconds for which a history is remembered after its last event.
        clock: monotonic, in seconds.

    Raises:
        ParameterError: an argument is not above 0.
    """

    def __init__(
        self,
        *,
        limit: int = 256 << 20,
        lifetime: float = 60.0,
        history_lifetime: float = 7 * 86400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (limit > 0 and lifetime > 0 and history_lifetime > 0):
            raise ParameterError(
                "a state needs a limit and lifetimes above 0; got "
                f"{limit}, {lifetime} and {history_lifetime}"
            )
        self._limit, self._lifetime, self._history_lifetime = limit, lifetime, history_lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = map(str.encode, map(str, itertools.count(1)))
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._counters: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0

    @property
    def size(self) -> int:
        """How many bytes it takes now."""
        return self._bytes

    def answers(self, asked: Sequence[Asked]) -> list[Found]:
        found = []
        with self._lock:
            for question in asked:
                with self._looked_up(question.user) as user:
                    if not user.answers_token:
                        user.begin_answers(next(self._tokens), self._clock() + self._lifetime)
                    found.append(Found(user.answers.get(question.digest), user.answers_token))
            self._evict()
        return found

    def keep(self, answers: Sequence[tuple[Asked, bytes, bytes]]) -> None:
        with self._lock:
            for question, token, value in answers:
                with self._known(question.user) as user:
                    if token and user.answers_token == token:
                        user.keep_answer(question.digest, value)
            self._evict()

    def invalidate(self, users: Iterable[str]) -> None:
        with self._lock:
            for name in users:
                with self._known(name) as user:
                    user.drop_answers()

    invalidate_later = invalidate

    def count(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            for name, increment in increments.items():
                if name not in self._counters:
                    self._counters[name] = 0
                    self._bytes += _COUNTER + len(name)
                self._counters[name] += increment
                self._counters.move_to_end(name)
            self._evict()

    def counts(self, names: Sequence[str]) -> list[int]:
        with self._lock:
            for name in names:
                if name in self._counters:
                    self._counters.move_to_end(name)
            return [self._counters.get(name, 0) for name in names]

    def histories(self, users: Sequence[str]) -> list[Found]:
        found = []
        with self._lock:
            for name in users:
                with self._looked_up(name) as user:
                    if not user.history_token:
                        user.history_token = next(self._tokens)
                        user.history_until = self._clock() + self._history_lifetime
                    found.append(Found(user.history, user.history_token))
            self._evict()
        return found

    def begin(self, histories: Sequence[tuple[str, bytes, bytes]]) -> None:
        with self._lock:
            for name, token, history in histories:
                with self._known(name) as user:
                    if token and user.history_token == token and user.history is None:
                        user.set_history(history, self._clock() + self._history_lifetime)
            self._evict()

    def append(self, parts: Sequence[tuple[str, bytes]]) -> None:
        with self._lock:
            for name, part in parts:
                with self._known(name) as user:
                    if user.history is None:
                        user.history_token = b""
                    else:
                        until = self._clock() + self._history_lifetime
                        user.set_history(user.history + part, until)
            self._evict()

    def drop(self, users: Iterable[str]) -> None:
        with self._lock:
            for name in users:
                with self._known(name) as user:
                    user.drop_history()
                    user.history_token = b""

    def forget(self, users: Iterable[str]) -> None:
        with self._lock:
            for name in users:
                if (user := self._users.pop(name, None)) is not None:
                    self._bytes -= user.size + len(name)

    def close(self) -> None:
        pass

    @contextmanager
    def _known(self, name: str) -> Iterator[_User]:
        """The user as the one used last, without what has expired, and the sum put right after a
        change; of one who is not there a blank."""
        if (user := self._users.get(name)) is None:
            yield _User()
            return
        self._users.move_to_end(name)
        before, now = user.size, self._clock()
        if user.answers_until <= now:
            user.drop_answers()
        if user.history_until <= now:
            user.drop_history()
            user.history_token = b""
        yield user
        self._bytes += user.size - before

    def _looked_up(self, name: str) -> AbstractContextManager[_User]:
        if name not in self._users:
            self._users[name] = user = _User()
            self._bytes += user.size + len(name)
        return self._known(name)

    def _evict(self) -> None:
        while self._bytes > self._limit and self._users:
            name, user = self._users.popitem(last=False)
            self._bytes -= user.size + len(name)
        while self._bytes > self._limit:
            name, _ = self._counters.popitem(last=False)
            self._bytes -= _COUNTER + len(name)
