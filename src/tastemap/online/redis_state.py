"""The state that serving needs beside the log, in Redis, for all processes and machines at once."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tastemap.errors import MissingExtraError, ParameterError, UnavailableError
from tastemap.online.state import Asked, Found

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

__all__ = ["PASSWORD", "RedisState"]

PASSWORD = "TASTEMAP_REDIS_PASSWORD"
"""The environment variable that holds the password."""

_TOKEN = 8
# A user's answers: by digest, and their token in the field that no digest has.
_FIELD = b""
_KEEP = """
if redis.call('HGET', KEYS[1], '') == ARGV[1] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
"""
# A history: the token, whether it was begun, and what it holds.
_ASKED, _BEGUN = b"?", b"!"
_BEGIN = """
if redis.call('GETRANGE', KEYS[1], 0, 8) == ARGV[1] .. '?' then
  redis.call('SET', KEYS[1], ARGV[1] .. '!' .. ARGV[2], 'PX', ARGV[3])
end
"""
_APPEND = """
local state = redis.call('GETRANGE', KEYS[1], 8, 8)
if state == '!' then
  redis.call('APPEND', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif state ~= '' then
  redis.call('UNLINK', KEYS[1])
end
"""

# So many forgotten keys are sent along with a call that is about others.
_SENT_ALONG = 1000


class RedisState:
    """The state of all servers that share a Redis, version 7 or newer (or Valkey).

    A user's answers are one hash, with a random token in it; a history is one string, which begins
    with its token. An event of the user removes the hash and so the token: an answer that was on
    its way then comes with a token that is not there any more. Losing Redis' memory loses answers,
    counters and histories, and nothing else; it is best run without snapshots, with a `maxmemory`
    and `maxmemory-policy allkeys-lru`.

    Keys are a prefix and a hash of the id, keyed by a secret where one is given: whoever sees Redis
    then cannot try ids.

    A call that fails is not repeated, and the next one connects anew. What it should have removed
    is removed before anything more is looked up.

    Args:
        url: redis://host:port/0, rediss:// over TLS, or unix:///path. The password is taken from
            the environment, TASTEMAP_REDIS_PASSWORD, where it is set.
        prefix: of all keys, for several services that share a Redis.
        secret: at most 64 bytes; the same in all processes.
        timeout: seconds for which a connection or an answer is waited for.
        lifetime: seconds for which answers are remembered, from the user's first on.
        history_lifetime: seconds for which a history is remembered after its last event.

    Raises:
        ParameterError: an argument is out of its range, or the address makes no sense.
        MissingExtraError: the client is not installed.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        prefix: str = "tastemap",
        secret: bytes = b"",
        timeout: float = 0.02,
        lifetime: float = 60.0,
        history_lifetime: float = 7 * 86400.0,
    ) -> None:
        if not (timeout > 0 and lifetime >= 0.001 and history_lifetime >= 0.001):
            raise ParameterError(
                "a state needs a timeout above 0 and lifetimes of a millisecond or more; got "
                f"{timeout}, {lifetime} and {history_lifetime}"
            )
        if len(secret) > hashlib.blake2b.MAX_KEY_SIZE:
            raise ParameterError("the secret of a Redis state must be 64 bytes at most")
        self._prefix, self._secret = prefix.encode(), secret
        self._lifetime, self._history_lifetime = lifetime, history_lifetime
        self._redis = _client(url, timeout)
        about = self._redis.connection_pool.connection_kwargs
        self._where = about.get("path") or f"{about['host']}:{about['port']}"
        # Keys that must go before anything is looked up, with the time when they expire anyway.
        self._owed: dict[bytes, float] = {}
        self._owed_limit = _SENT_ALONG
        self._lock = threading.Lock()

    def answers(self, asked: Sequence[Asked]) -> list[Found]:
        keys = [self._key("a", question.user) for question in asked]

        def commands(pipe: Pipeline) -> None:
            for key, question in zip(keys, asked, strict=True):
                pipe.hsetnx(key, _FIELD, secrets.token_bytes(_TOKEN))
                pipe.pexpire(key, _milliseconds(self._lifetime), nx=True)
                pipe.hmget(key, [_FIELD, question.digest])

        found = self._run(commands, keys)[2::3]
        return [Found(value, token or b"") for token, value in found]

    def keep(self, answers: Sequence[tuple[Asked, bytes, bytes]]) -> None:
        def commands(pipe: Pipeline) -> None:
            for question, token, value in answers:
                key = self._key("a", question.user)
                pipe.eval(_KEEP, 1, key, token, question.digest, value)

        self._run(commands)

    def invalidate(self, users: Iterable[str]) -> None:
        self._remove([self._key("a", user) for user in users], self._lifetime)

    def invalidate_later(self, users: Iterable[str]) -> None:
        self._owe([self._key("a", user) for user in users], self._lifetime)

    def count(self, increments: Mapping[str, int]) -> None:
        def commands(pipe: Pipeline) -> None:
            for name, increment in increments.items():
                pipe.incrby(self._key("c", name), increment)

        self._run(commands)

    def counts(self, names: Sequence[str]) -> list[int]:
        if not names:
            return []

        def commands(pipe: Pipeline) -> None:
            pipe.mget([self._key("c", name) for name in names])

        return [int(value or 0) for value in self._run(commands)[0]]

    def histories(self, users: Sequence[str]) -> list[Found]:
        keys = [self._key("h", user) for user in users]

        def commands(pipe: Pipeline) -> None:
            for key in keys:
                empty = secrets.token_bytes(_TOKEN) + _ASKED
                pipe.set(key, empty, nx=True, px=_milliseconds(self._history_lifetime))
                pipe.get(key)

        found = []
        for value in self._run(commands, keys)[1::2]:
            value = value or b""
            begun = value[_TOKEN : _TOKEN + 1] == _BEGUN
            found.append(Found(value[_TOKEN + 1 :] if begun else None, value[:_TOKEN]))
        return found

    def begin(self, histories: Sequence[tuple[str, bytes, bytes]]) -> None:
        lifetime = _milliseconds(self._history_lifetime)

        def commands(pipe: Pipeline) -> None:
            for user, token, history in histories:
                pipe.eval(_BEGIN, 1, self._key("h", user), token, history, lifetime)

        self._run(commands)

    def append(self, parts: Sequence[tuple[str, bytes]]) -> None:
        lifetime = _milliseconds(self._history_lifetime)
        keys = [self._key("h", user) for user, _ in parts]

        def commands(pipe: Pipeline) -> None:
            for key, (_, part) in zip(keys, parts, strict=True):
                pipe.eval(_APPEND, 1, key, part, lifetime)

        try:
            self._run(commands, keys)
        except UnavailableError:
            self._owe(keys, self._history_lifetime)
            raise

    def drop(self, users: Iterable[str]) -> None:
        self._remove([self._key("h", user) for user in users], self._history_lifetime)

    def forget(self, users: Iterable[str]) -> None:
        keys = [self._key(kind, user) for user in users for kind in "ah"]
        self._remove(keys, max(self._lifetime, self._history_lifetime))

    def close(self) -> None:
        self._redis.close()

    def _key(self, kind: str, name: str) -> bytes:
        text = name.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=16, key=self._secret, person=kind.encode())
        return b"%s:%s:%s" % (self._prefix, kind.encode(), digest.hexdigest().encode())

    def _remove(self, keys: list[bytes], lifetime: float) -> None:
        self._owe(keys, lifetime)
        self._run(lambda pipe: None, keys)

    def _owe(self, keys: Iterable[bytes], lifetime: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._owed |= dict.fromkeys(keys, now + lifetime)
            if len(self._owed) > self._owed_limit:
                self._owed = {key: until for key, until in self._owed.items() if until > now}
                self._owed_limit = 2 * len(self._owed) + _SENT_ALONG

    def _run(self, commands: Callable[[Pipeline], None], keys: Sequence[bytes] = ()) -> list[Any]:
        """The results of commands, in one round trip; before them goes what is owed of the keys
        that they look at, and some more."""
        from redis.exceptions import RedisError

        with self._lock:
            owed = {key: self._owed[key] for key in keys if key in self._owed}
            for key, until in self._owed.items():
                if len(owed) >= len(keys) + _SENT_ALONG:
                    break
                owed[key] = until
        pipe = self._redis.pipeline(transaction=False)
        if owed:
            pipe.unlink(*owed)
        commands(pipe)
        try:
            results = pipe.execute()
        except (RedisError, OSError) as error:
            raise UnavailableError(f"Redis at {self._where}: {error}") from error
        if owed:
            with self._lock:
                for key, until in owed.items():
                    if self._owed.get(key) == until:
                        del self._owed[key]
        return results[1:] if owed else results


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _client(url: str, timeout: float) -> Redis:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise MissingExtraError(
            "state in Redis needs its client: pip install 'tastemap[redis]'"
        ) from None
    try:
        return Redis.from_url(
            url,
            password=os.environ.get(PASSWORD),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError as error:
        raise ParameterError(f"the address of Redis makes no sense: {error}") from None
