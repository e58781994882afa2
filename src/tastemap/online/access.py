"""Who may do what: API keys with roles, of which only hashes are kept.

A key is 256 random bits, so its plain SHA-256 tells nothing of it. A file of keys is TOML:

    [[keys]]
    name = "shop"
    roles = ["read", "write"]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tastemap.errors import TastemapError
from tastemap.online.refusals import Refusal, refused

__all__ = [
    "Access",
    "Key",
    "KeyFile",
    "Keys",
    "KeysError",
    "Role",
    "add_key",
    "caller",
    "is_open",
    "permitted",
]

log = logging.getLogger("tastemap.online")


class Role(StrEnum):
    """What a key may do."""

    READ = "read"
    """Recommendations, browsing, metrics."""
    WRITE = "write"
    """Posting events."""
    ADMIN = "admin"
    """Everything, what concerns personal data too."""


class KeysError(TastemapError):
    """Keys that cannot be read or made; the message says why."""


# Asked by load balancers and orchestrators, which have no key, and without anybody's data; and the
# page and the description of the API, which everybody has who has this package.
_OPEN = frozenset({"/health", "/ready", "/", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
_OPEN_FOLDER = "/static/"

# What is not named here is for reading where it only reads, and else for admins.
_NEEDED = {
    ("POST", "/recommendations"): Role.READ,
    ("POST", "/recommendations/batch"): Role.READ,
    ("POST", "/events"): Role.WRITE,
    ("POST", "/items"): Role.WRITE,
    ("DELETE", "/items/{item:id}"): Role.WRITE,
    ("GET", "/users/{user:id}/data"): Role.ADMIN,
}
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_CALLER = "tastemap.caller"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_KEY = 256
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as it is kept.

    Attributes:
        name: whose it is; letters, digits and ". _ -", up to 64.
        roles: what it may do.
        sha256: of the key, in hexadecimal.
    """

    name: str
    roles: frozenset[Role]
    sha256: str

    def may(self, role: Role) -> bool:
        """Whether the key has a role; admins have all."""
        return role in self.roles or Role.ADMIN in self.roles


class Keys:
    """Keys by what they are.

    Args:
        keys: with names and hashes that occur once each.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = list(keys)

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def parse(cls, text: str, source: str) -> Keys:
        """Keys of the text of a file; `source` is what messages call it.

        Raises:
            KeysError: it is not TOML, or not as it should be.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise KeysError(f"{source} is not TOML: {error}") from None
        rows = tables.pop("keys", [])
        if tables or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise KeysError(f"{source} must hold [[keys]] with name, roles and sha256 alone")
        keys = [_key(row, f"{source}: key {place}") for place, row in enumerate(rows, 1)]
        for what in ("name", "sha256"):
            values = [getattr(key, what) for key in keys]
            if len(set(values)) < len(values):
                raise KeysError(f"{source} has two keys of the same {what}")
        return cls(keys)

    @property
    def names(self) -> list[str]:
        """What the keys are called."""
        return [key.name for key in self._keys]

    def find(self, secret: str) -> Key | None:
        """The key of a secret. It takes as long for one as for another."""
        given = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found


class KeyFile:
    """The keys of a file, read again when it changes, so that a key can be taken back at once.

    Args:
        path: of the file. Where it breaks later, the keys of before stay, and the log says so.

    Raises:
        KeysError: it cannot be read, is not as it should be, or holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = time.monotonic()
        self._mark = self._stat()
        self._keys = _read(path)
        if len(self._keys) == 0:
            raise KeysError(f"{path} holds no key. Make one with: tastemap keys new --file {path}")

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def find(self, secret: str) -> Key | None:
        """The key of a secret, by what the file said a second ago at most."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            mark = self._stat()
            if mark != self._mark:
                self._mark = mark
                try:
                    self._keys = _read(self._path)
                    log.info("read the keys again: %d", len(self._keys))
                except KeysError as error:
                    log.error("kept the keys of before: %s", error)
        return self._keys.find(secret)


def add_key(path: Path, name: str, roles: Sequence[str]) -> str:
    """Makes a key, adds its hash to a file, which is made where there is none, and returns it.

    Raises:
        KeysError: the name is taken or not one, there is no role, or the file is not of keys.
    """
    secret = f"tm_{secrets.token_urlsafe(32)}"
    row = {
        "name": name,
        "roles": list(roles),
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
    }
    _key(row, "the new key")
    listed = ", ".join(f'"{role}"' for role in roles)
    text = f'[[keys]]\nname = "{name}"\nroles = [{listed}]\nsha256 = "{row["sha256"]}"\n'
    before = _text(path) if path.exists() else ""
    if name in Keys.parse(before, str(path)).names:
        raise KeysError(
            f"{path} has a key of the name {name!r} already. Choose another --name, or delete the "
            "lines of that key first"
        )
    after = f"{before.rstrip()}\n\n{text}" if before.strip() else text
    Keys.parse(after, str(path))
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(after)
        if path.exists():
            os.chmod(fresh, path.stat().st_mode & 0o777)
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise KeysError(f"{path} cannot be written: {error.strerror}") from error
    return secret


def _read(path: Path) -> Keys:
    return Keys.parse(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeysError(
            f"the keys {path} cannot be read: {error.strerror}. Make one with: "
            f"tastemap keys new --file {path}"
        ) from error
    except UnicodeDecodeError:
        raise KeysError(f"{path} is not UTF-8 text") from None


def _key(row: Mapping[str, object], where: str) -> Key:
    if set(row) != {"name", "roles", "sha256"}:
        raise KeysError(f"{where} must have name, roles and sha256; it has {sorted(row)}")
    name, roles, sha256 = row["name"], row["roles"], row["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KeysError(f"{where}: a name is up to 64 letters, digits and . _ -, got {name!r}")
    known = [str(role) for role in Role]
    if not isinstance(roles, list) or not roles or not all(role in known for role in roles):
        raise KeysError(f"{where} ({name}): roles must be some of {known}, got {roles!r}")
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        raise KeysError(f"{where} ({name}): sha256 must be 64 hexadecimal digits in lower case")
    return Key(name, frozenset(Role(role) for role in roles), sha256)


class Access:
    """ASGI middleware that lets nobody in without a key, except to what is open.

    What the key may do is looked at where the route is known (`permitted`).
    """

    def __init__(self, app: ASGIApp, keys: Keys | KeyFile) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        secret = _given(scope)
        key = None if secret is None else self.keys.find(secret)
        scope[_CALLER] = key
        if key is None and not is_open(scope["path"]):
            why = "the key is not known" if secret is not None else "a key is needed"
            response = refused(
                401,
                [
                    {
                        "loc": ["header", "authorization"],
                        "msg": f"{why}: send it as Authorization: Bearer KEY or X-API-Key: KEY",
                        "type": "unauthorized",
                    }
                ],
                {"WWW-Authenticate": 'Bearer realm="tastemap"'},
            )
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _given(scope: Scope) -> str | None:
    """The key that a request brings; headers are Latin-1 by definition."""
    headers = dict(scope["headers"])
    scheme, _, secret = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        secret = headers.get(b"x-api-key", b"")
    secret = secret.strip()[:_MAX_KEY]
    return secret.decode("latin-1") if secret else None


def is_open(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in _OPEN or (path.startswith(_OPEN_FOLDER) and ".." not in path)


def caller(scope: Scope) -> Key | None:
    """The key that a request was let in with."""
    key: Key | None = scope.get(_CALLER)
    return key


async def permitted(request: Request) -> None:
    """A dependency of all routes: refuses with 403 what the caller's key does not allow."""
    if _CALLER not in request.scope:
        return  # this service asks for no keys
    key = caller(request.scope)
    if key is None or is_open(request.scope["path"]):
        return
    method = request.method
    route = getattr(request.scope.get("route"), "path", "")
    usual = Role.READ if method in _READING else Role.ADMIN
    role = _NEEDED.get((method, route), usual)
    if not key.may(role):
        held = ", ".join(sorted(key.roles))
        raise Refusal(
            403,
            ["header", "authorization"],
            f"this needs the role {role}; the key {key.name} has {held}",
            "forbidden",
        )
