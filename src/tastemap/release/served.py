"""Which release a store serves, and which ones it served before.

    CURRENT    one line: the version served now
    HISTORY    one line for each time CURRENT was set: the moment, and the version

CURRENT alone decides. HISTORY is written just before it, so a kill between the two leaves a last
line that never came into force; `served_before` is made so that such a line changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tastemap.errors import ReleaseError
from tastemap.release.versions import split_version
from tastemap.storage.atomic import replace_file

__all__ = ["CURRENT", "ever_served", "put_in_place_of", "read_current", "serve", "served_before"]

CURRENT = "CURRENT"
HISTORY = "HISTORY"


def read_current(store: Path) -> str | None:
    """The version that CURRENT names, None where there is no such file.

    Raises:
        ReleaseError: it names no version, or cannot be read.
    """
    try:
        with (store / CURRENT).open("rb") as file:
            text = file.read(100).decode(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError(f"{store / CURRENT} cannot be read: {error.strerror}") from error
    if not split_version(text):
        raise ReleaseError(
            f"{store / CURRENT} names no release (it holds {text!r:.60}). Go back to the last one "
            f"served with `tastemap releases rollback --release {store}`"
        )
    return text


def serve(store: Path, version: str) -> None:
    """Make `version` the one served, in one step. The caller holds the store's lock."""
    lines = [*_lines(store), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {version}"]
    replace_file(store / HISTORY, ("\n".join(lines) + "\n").encode())
    replace_file(store / CURRENT, f"{version}\n".encode())


def put_in_place_of(store: Path, old: str, new: str) -> None:
    """Name `new` wherever `old` was named. The caller holds the store's lock."""
    lines = [f"{line.rpartition(' ')[0]} {new}" if line.endswith(f" {old}") else line
             for line in _lines(store)]  # fmt: skip
    replace_file(store / HISTORY, ("\n".join(lines) + "\n").encode())
    if read_current(store) == old:
        replace_file(store / CURRENT, f"{new}\n".encode())


def served_before(store: Path, current: str | None) -> list[str]:
    """The versions that roll backs lead to, the nearest one first.

    Publishing goes one step on; serving a version again forgets what was served after it. So when
    B has replaced A, A was put back, and C was published, the way back from C leads to A.
    """
    way: list[str] = []
    for version in [*_versions(store), *([current] if current else [])]:
        if version in way:
            del way[way.index(version) + 1 :]
        else:
            way.append(version)
    if current:
        way.pop()
    return way[::-1]


def ever_served(store: Path) -> set[str]:
    """Every version that HISTORY names."""
    return set(_versions(store))


def _versions(store: Path) -> list[str]:
    return [line.rpartition(" ")[2] for line in _lines(store)]


def _lines(store: Path) -> list[str]:
    try:
        text = (store / HISTORY).read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if split_version(line.rpartition(" ")[2])]
