"""A connection to Redis, and what stands for an id in its keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tastemap.errors import MissingExtraError, ParameterError, UnavailableError

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["PASSWORD", "connect", "hashed", "reaching"]

PASSWORD = "TASTEMAP_REDIS_PASSWORD"
"""The environment variable that holds the password."""


def connect(url: str, timeout: float) -> Redis:
    """A client, which connects with its first command and repeats none.

    Args:
        url: redis://host:port/0, rediss:// over TLS, or unix:///path. The password is taken from
            the environment, TASTEMAP_REDIS_PASSWORD, where it is set.
        timeout: seconds for which a connection or an answer is waited for.

    Raises:
        ParameterError: the address makes no sense.
        MissingExtraError: the client is not installed.
    """
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


@contextmanager
def reaching(redis: Redis) -> Iterator[None]:
    """Within the block whatever Redis refuses, and that it cannot be reached, is an
    `UnavailableError`, which says where it should be."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        about = redis.connection_pool.connection_kwargs
        host, port = about.get("host", "localhost"), about.get("port", 6379)
        where = about.get("path") or f"{host}:{port}"
        raise UnavailableError(f"Redis at {where}: {error}") from error


def hashed(kind: str, id_: str, secret: bytes = b"") -> bytes:
    """32 letters that stand for an id among those of a kind; keyed by a secret where one is
    given."""
    text = id_.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=16, key=secret, person=kind.encode())
    return digest.hexdigest().encode()
