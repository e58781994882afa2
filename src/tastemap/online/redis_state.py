"""The state that serving needs beside the log, in Redis, for all processes and machines at once."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tastemap.errors import ParameterError, UnavailableError
from tastemap.online.redis_client import connect, hashed, reaching
from tastemap.online.state import Asked, Found

__all__ = ["RedisState"]

_TOKEN = 8
# Each works on a batch of keys. A user's answers: by digest, and their token in the field "".
_ANSWERS = """
local found = {}
for i, key in ipairs(KEYS) do
  redis.call('HSETNX', key, '', ARGV[2 * i])
  redis.call('PEXPIRE', key, ARGV[1], 'NX')
  local got = redis.call('HMGET', key, '', ARGV[2 * i + 1])
  found[2 * i - 1], found[2 * i] = got[1], got[2]
end
return found
"""
_KEEP = """
for i, key in ipairs(KEYS) do
  if redis.call('HGET', key, '') == ARGV[3 * i - 2] then
    redis.call('HSET', key, ARGV[3 * i - 1], ARGV[3 * i])
  end
end
"""
_COUNT = """
for i, key in ipairs(KEYS) do
  redis.call('INCRBY', key, ARGV[i])
end
"""
# A history: the token, then "?" or, once it was begun, "!" and what it holds.
_HISTORIES = """
local found = {}
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1] .. '?', 'NX', 'PX', ARGV[1])
  found[i] = redis.call('GET', key)
end
return found
"""
_BEGIN = """
for i, key in ipairs(KEYS) do
  if redis.call('GETRANGE', key, 0, 8) == ARGV[2 * i] .. '?' then
    redis.call('SET', key, ARGV[2 * i] .. '!' .. ARGV[2 * i + 1], 'PX', ARGV[1])
  end
end
"""
_APPEND = """
for i, key in ipairs(KEYS) do
  local state = redis.call('GETRANGE', key, 8, 8)
  if state == '!' then
    redis.call('APPEND', key, ARGV[i + 1])
    redis.call('PEXPIRE', key, ARGV[1])
  elseif state ~= '' then
    redis.call('UNLINK', key)
  end
end
"""

# So many keys that are owed are sent along with a call that is about others.
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
        self._redis = connect(url, timeout)
        # Keys that must go before anything is looked up, with the time when they expire anyway.
        self._owed: dict[bytes, float] = {}
        self._owed_limit = _SENT_ALONG
        self._lock = threading.Lock()

    def answers(self, asked: Sequence[Asked]) -> list[Found]:
        keys = [self._key("a", question.user) for question in asked]
        values: list[bytes | int] = [_milliseconds(self._lifetime)]
        for question in asked:
            values += [secrets.token_bytes(_TOKEN), question.digest]
        found = self._script(_ANSWERS, keys, values)
        return [Found(value, token) for token, value in zip(found[::2], found[1::2], strict=True)]

    def keep(self, answers: Sequence[tuple[Asked, bytes, bytes]]) -> None:
        keys: list[bytes] = []
        values: list[bytes | int] = []
        for question, token, value in answers:
            key = self._key("a", question.user)
            # What is yet to be removed is older than an event.
            if key not in self._owed:
                keys.append(key)
                values += [token, question.digest, value]
        if keys:
            self._send("EVAL", _KEEP, len(keys), *keys, *values)

    def invalidate(self, users: Iterable[str]) -> None:
        self._remove([self._key("a", user) for user in users], self._lifetime)

    def invalidate_later(self, users: Iterable[str]) -> None:
        self._owe([self._key("a", user) for user in users], self._lifetime)

    def count(self, increments: Mapping[str, int]) -> None:
        keys = [self._key("c", name) for name in increments]
        self._script(_COUNT, keys, list(increments.values()))

    def counts(self, names: Sequence[str]) -> list[int]:
        if not names:
            return []
        found = self._run((), "MGET", *(self._key("c", name) for name in names))
        return [int(value or 0) for value in found]

    def histories(self, users: Sequence[str]) -> list[Found]:
        keys = [self._key("h", user) for user in users]
        tokens = [secrets.token_bytes(_TOKEN) for _ in users]
        values: list[bytes | int] = [_milliseconds(self._history_lifetime), *tokens]
        found = []
        for value in self._script(_HISTORIES, keys, values):
            begun = value[_TOKEN : _TOKEN + 1] == b"!"
            found.append(Found(value[_TOKEN + 1 :] if begun else None, value[:_TOKEN]))
        return found

    def begin(self, histories: Sequence[tuple[str, bytes, bytes]]) -> None:
        keys = [self._key("h", user) for user, _, _ in histories]
        values: list[bytes | int] = [_milliseconds(self._history_lifetime)]
        for _, token, history in histories:
            values += [token, history]
        self._script(_BEGIN, keys, values)

    def append(self, parts: Sequence[tuple[str, bytes]]) -> None:
        keys = [self._key("h", user) for user, _ in parts]
        values: list[bytes | int] = [_milliseconds(self._history_lifetime)]
        values += [part for _, part in parts]
        try:
            self._script(_APPEND, keys, values)
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
        return b"%s:%s:%s" % (self._prefix, kind.encode(), hashed(kind, name, self._secret))

    def _remove(self, keys: list[bytes], lifetime: float) -> None:
        self._owe(keys, lifetime)
        self._run(keys)

    def _owe(self, keys: Iterable[bytes], lifetime: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._owed |= dict.fromkeys(keys, now + lifetime)
            if len(self._owed) > self._owed_limit:
                self._owed = {key: until for key, until in self._owed.items() if until > now}
                self._owed_limit = 2 * len(self._owed) + _SENT_ALONG

    def _script(self, script: str, keys: list[bytes], values: Sequence[bytes | int]) -> list[Any]:
        if not keys:
            return []
        found: list[Any] = self._run(keys, "EVAL", script, len(keys), *keys, *values)
        return found

    def _run(self, keys: Sequence[bytes], *command: Any) -> Any:
        """What a command gives, in one round trip; before it goes what is owed of the keys that it
        looks at, and some more."""
        with self._lock:
            owed = {key: self._owed[key] for key in keys if key in self._owed}
            for key, until in self._owed.items():
                if len(owed) >= len(keys) + _SENT_ALONG:
                    break
                owed[key] = until
        pipe = self._redis.pipeline(transaction=False)
        if owed:
            pipe.unlink(*owed)
        if command:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        with reaching(self._redis):
            results = pipe.execute()
        if owed:
            with self._lock:
                for key, until in owed.items():
                    if self._owed.get(key) == until:
                        del self._owed[key]
        return results[-1] if command else None

    def _send(self, *command: Any) -> None:
        """Has a command carried out, and does not wait for what comes of it."""
        pool = self._redis.connection_pool
        with reaching(self._redis):
            connection = pool.get_connection()
            try:
                # Nothing is answered, so that nothing is left to be read by the next call.
                commands = [("CLIENT", "REPLY", "SKIP"), command]
                packed = connection.pack_commands(commands)  # type: ignore[no-untyped-call]
                connection.send_packed_command(packed)  # type: ignore[no-untyped-call]
            finally:
                pool.release(connection)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
