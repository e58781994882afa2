"""What an answer showed, as a text that the asker hands back.

Whoever shows an answer sends its token with the events that come of it, and with the request for
the next page. So the service knows what was shown, by which source and at which place, without
keeping anything, and any worker or machine with the same key can read it. It holds no user.

    version u8 | moment u32 | release u32 | before u16 | n u16 | n × item u32 | n × source u8 |
    names of sources | first bytes of HMAC-SHA256 of it all; in base64url without padding
"""

from __future__ import annotations

import base64
import hmac
import os
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import TastemapError

__all__ = ["MAX_SHOWN", "MAX_TOKEN", "Shown", "TokenError", "Tokens", "item_hash"]

MAX_SHOWN = 1000
MAX_TOKEN = 8192
"""Characters of a token at most."""
_HEAD = struct.Struct("<BIIHH")
_VERSION = 1
_SIGNATURE = 12
_KEY_BYTES = 32


class TokenError(TastemapError):
    """A token that this service has not given, or not with this key."""


def item_hash(item: str) -> int:
    """A number for an item's id that is the same in all releases: its CRC-32."""
    return zlib.crc32(item.encode())


@dataclass(frozen=True)
class Shown:
    """What was shown up to the page that a token came with.

    Attributes:
        moment: Unix seconds, whole ones.
        release: `item_hash` of the release's version.
        before: items of the pages before.
        items: uint32 [n], `item_hash` of each in the order shown.
        sources: the source of each, [n].
    """

    moment: int
    release: int
    before: int
    items: NDArray[np.uint32]
    sources: tuple[str, ...]

    def source_of(self, item: str) -> str | None:
        """The source that found an item, or None where it was not shown."""
        places = np.flatnonzero(self.items == item_hash(item))
        return self.sources[places[-1]] if len(places) else None


class Tokens:
    """Makes and reads tokens.

    Args:
        key: what they are signed with.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of_folder(cls, folder: Path) -> Tokens:
        """With the key of a state folder, which is made where there is none."""
        path = folder / "TOKEN_KEY"
        fresh = folder / f".TOKEN_KEY-{os.getpid()}"
        if not path.exists():
            # Linked once it is whole, so that of several processes all read one and the same key.
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return cls(path.read_bytes())

    def give(
        self,
        release: str,
        items: Sequence[str],
        sources: Sequence[str],
        *,
        after: Shown | None = None,
    ) -> str:
        """The token of an answer.

        Args:
            release: the version that gave it.
            items: external ids in the order shown, [n].
            sources: of each, [n].
            after: the pages before.
        """
        # Every answer has a token, and lists of a few numbers are quicker than arrays of them.
        hashes, before = [item_hash(item) for item in items], 0
        if after is not None:
            before = len(after.items)
            hashes = [*after.items.tolist(), *hashes]
            sources = [*after.sources, *sources]
        names = sorted(set(sources))[:255]
        place = {name: index for index, name in enumerate(names)}
        body = (
            _HEAD.pack(_VERSION, int(time.time()), item_hash(release), before, len(hashes))
            + struct.pack(f"<{len(hashes)}I", *hashes)
            + bytes([place.get(source, 0) for source in sources])
            + "\n".join(names).encode()
        )
        return base64.urlsafe_b64encode(body + self._sign(body)).rstrip(b"=").decode()

    def read(self, token: str) -> Shown:
        """What a token says.

        Raises:
            TokenError: it was not given by this service.
        """
        try:
            if len(token) > MAX_TOKEN:
                raise ValueError
            raw = base64.b64decode(
                token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
            body, signature = raw[:-_SIGNATURE], raw[-_SIGNATURE:]
            if not hmac.compare_digest(signature, self._sign(body)):
                raise ValueError
            version, moment, release, before, n = _HEAD.unpack_from(body)
            if version != _VERSION:
                raise ValueError
        except (ValueError, struct.error):
            raise TokenError("the token was not given by this service") from None
        start = _HEAD.size
        items = np.frombuffer(body, "<u4", n, start).astype(np.uint32)
        codes = body[start + 4 * n : start + 5 * n]
        names = body[start + 5 * n :].decode().split("\n")
        return Shown(moment, release, before, items, tuple(names[code] for code in codes))

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_SIGNATURE]
