"""Answers that were made in advance, in Redis, where all machines find them.

    PREFIX:p:RELEASE:USER    the answers of one user by one release, as JSON

RELEASE is the version, with all but letters, digits and `_.-~` escaped as in a URL, and USER a hash
of the id. A value says how far the log was read for it, so that what one run wrote and what the
next one writes may stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import orjson

from tastemap.errors import DataError
from tastemap.online.precomputed import Precomputed, Prepared, Tile
from tastemap.online.redis_client import connect, hashed, reaching

__all__ = ["LIFETIME", "PrecomputedRedis", "writing_redis"]

LIFETIME = 7 * 86_400.0
"""Seconds after which what was written goes by itself, as other releases are served by then."""
_PREFIX = "tastemap"
# A run may wait for a Redis that is busy, a request may not.
_WRITING_TIMEOUT = 10.0


@contextmanager
def writing_redis(
    url: str,
    *,
    release: str,
    offset: int,
    prefix: str = _PREFIX,
    lifetime: float = LIFETIME,
) -> Iterator[Callable[[Tile], None]]:
    """What writes tiles to a Redis.

    Args:
        url: see `redis_client.connect`.
        release, offset: see `Prepared`.
        prefix: of all keys, for several services that share a Redis.
        lifetime: seconds.

    Raises:
        UnavailableError: it cannot be reached, or not written; some may have been.
        ParameterError: the address makes no sense.
        MissingExtraError: the client is not installed.
    """
    redis = connect(url, _WRITING_TIMEOUT)

    def write(tile: Tile) -> None:
        items, sources = tile.items.to_pylist(), tile.sources.to_pylist()
        pipe = redis.pipeline(transaction=False)
        bounds = pairwise(tile.offsets.tolist())
        for user, (start, stop) in zip(tile.users.to_pylist(), bounds, strict=True):
            scores = tile.scores[start:stop].tolist()
            value = orjson.dumps([offset, items[start:stop], scores, sources[start:stop]])
            pipe.set(_key(prefix, release, str(user)), value, px=round(1000 * lifetime))
        with reaching(redis):
            pipe.execute()

    try:
        yield write
    finally:
        redis.close()


class PrecomputedRedis(Precomputed):
    """Answers that `writing_redis` wrote.

    Args:
        url: see `redis_client.connect`.
        prefix: that of the writer.
        timeout: seconds for which a connection or an answer is waited for.

    Raises:
        ParameterError: the address makes no sense.
        MissingExtraError: the client is not installed.
    """

    def __init__(self, url: str, *, prefix: str = _PREFIX, timeout: float = 0.02) -> None:
        self._redis = connect(url, timeout)
        self._prefix = prefix

    def find(self, users: Sequence[str], release: str) -> list[Prepared | None]:
        """As every one's; of other releases there is nothing here."""
        if not users:
            return []
        with reaching(self._redis):
            values = self._redis.mget([_key(self._prefix, release, user) for user in users])
        return [None if value is None else _read(release, value) for value in values]

    def forget(self, user: str, releases: Sequence[str]) -> None:
        with reaching(self._redis):
            self._redis.unlink(*(_key(self._prefix, release, user) for release in releases))

    def renewed(self) -> PrecomputedRedis:
        return self

    def close(self) -> None:
        self._redis.close()


def _key(prefix: str, release: str, user: str) -> str:
    return f"{prefix}:p:{quote(release, safe='')}:{hashed('p', user).decode()}"


def _read(release: str, value: bytes | str) -> Prepared:
    try:
        offset, items, scores, sources = orjson.loads(value)
        if not len(items) == len(scores) == len(sources):
            raise ValueError("parts of different lengths")
        return Prepared(
            release, int(offset), list(items), np.array(scores, np.float32), list(sources)
        )
    except (TypeError, ValueError) as error:
        raise DataError(
            f"what stands in Redis is no answer made in advance ({error})",
            remedy="Make it anew with `tastemap batch`",
        ) from None
