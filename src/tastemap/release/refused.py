"""Which releases of a store turned out bad while they were served.

    REFUSED    a line for each: the version, and why

What goes back by itself passes over these. A person who names one serves it again.
"""

from __future__ import annotations

from pathlib import Path

from tastemap.release.versions import split_version
from tastemap.storage.atomic import replace_file

__all__ = ["mark_refused", "read_refused", "rename_refused", "unmark_refused"]

REFUSED = "REFUSED"


def read_refused(store: Path) -> dict[str, str]:
    """By version why it was refused."""
    try:
        lines = (store / REFUSED).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    parts = (line.partition(" ") for line in lines)
    return {version: reason for version, _, reason in parts if split_version(version)}


def mark_refused(store: Path, version: str, reason: str) -> None:
    """Refuses a version. The caller holds the store's lock."""
    _write(store, read_refused(store) | {version: " ".join(reason.split())[:500]})


def unmark_refused(store: Path, version: str) -> None:
    """Takes a version for good again. The caller holds the store's lock."""
    refused = read_refused(store)
    if refused.pop(version, None) is not None:
        _write(store, refused)


def rename_refused(store: Path, old: str, new: str) -> None:
    """Names `new` where `old` was named. The caller holds the store's lock."""
    refused = read_refused(store)
    if old in refused:
        _write(store, {new if each == old else each: why for each, why in refused.items()})


def _write(store: Path, refused: dict[str, str]) -> None:
    lines = [f"{version} {reason}\n" for version, reason in refused.items()]
    replace_file(store / REFUSED, "".join(lines).encode())
