"""A release of a store, its version, and what its manifest says of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tastemap.errors import ReleaseError
from tastemap.storage import Manifest, read_manifest

__all__ = [
    "Release",
    "describe",
    "names_content",
    "new_version",
    "same_release",
    "split_version",
    "version_of",
    "versions_in",
]

TIME_FORMAT = "%Y%m%dT%H%M%SZ"
VERSION_PATTERN = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{8})")


@dataclass(frozen=True)
class Release:
    """One release of a store, as its manifest describes it.

    Attributes:
        version: its name in the store; names sort by age.
        path: its directory.
        created: when it was written, UTC.
        kind: "model" or "pipeline"; "unknown" where the manifest is damaged.
        models: command-line names of the models in it.
        ranker: the command-line name of the ranker that orders what they propose, or None.
        metrics: what was given at publishing, by metric name.
        notes: what was given at publishing.
        bytes: size of its files.
        is_current: whether it is the one served.
        was_published: whether it is or was the one served.
        problem: why its manifest cannot be read, or None; the other files are not looked at.
        refused: why it is not to be served again, or None.
    """

    version: str
    path: Path
    created: datetime
    kind: str = "unknown"
    models: tuple[str, ...] = ()
    ranker: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    bytes: int = 0
    is_current: bool = False
    was_published: bool = False
    problem: str | None = None
    refused: str | None = None


def split_version(text: str) -> tuple[datetime, str] | None:
    """The moment and the beginning of the checksum in a version; None where it is not one."""
    match = VERSION_PATTERN.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], TIME_FORMAT).replace(tzinfo=UTC), match[2]
    except ValueError:  # digits in the right places that are no date
        return None


def same_release(one: str, other: str) -> bool:
    """Whether two versions are of one release: of the same moment. The checksum changes when a user
    is removed from it."""
    mine, theirs = split_version(one), split_version(other)
    return mine is not None and theirs is not None and mine[0] == theirs[0]


def names_content(version: str, manifest: Manifest) -> bool:
    """Whether the checksum in `version` is that of `manifest`: nobody has renamed directories."""
    parts = split_version(version)
    return parts is not None and manifest.sha256.startswith(parts[1])


def versions_in(store: Path) -> list[str]:
    """The versions that a store holds, the oldest first."""
    return sorted(
        entry.name
        for entry in os.scandir(store)
        if split_version(entry.name) and entry.is_dir(follow_symlinks=False)
    )


def version_of(manifest: Manifest, moment: datetime | None = None) -> str:
    """The version of a checked directory: when it was written, and what is in it."""
    return f"{moment or manifest.created:{TIME_FORMAT}}-{manifest.sha256[:8]}"


def new_version(store: Path, manifest: Manifest) -> str:
    """A version later than all in the store, even if the clock stood still or went back."""
    moment = datetime.now(UTC)
    for version in versions_in(store)[-1:]:
        if parts := split_version(version):
            moment = max(moment, parts[0] + timedelta(seconds=1))
    return version_of(manifest, moment)


def describe(
    path: Path, *, is_current: bool, was_published: bool, refused: str | None = None
) -> Release:
    """What the manifest at `path` says; a damaged one becomes the release's `problem`."""
    version = path.name
    try:
        manifest = read_manifest(path)
    except ReleaseError as error:
        parts = split_version(version)
        return Release(
            version,
            path,
            created=parts[0] if parts else datetime.fromtimestamp(0, UTC),
            is_current=is_current,
            was_published=was_published,
            problem=str(error),
            refused=refused,
        )
    metrics = manifest.contents.get("metrics")
    return Release(
        version,
        path,
        created=manifest.created,
        kind=manifest.kind,
        models=_models(manifest),
        ranker=_ranker(manifest),
        metrics=metrics if isinstance(metrics, dict) else {},
        notes=str(manifest.contents.get("notes", "")),
        bytes=manifest.bytes,
        is_current=is_current,
        was_published=was_published,
        refused=refused,
    )


def _models(manifest: Manifest) -> tuple[str, ...]:
    """Names of the models that a manifest names: its own, and those of its components."""
    components = manifest.contents.get("components")
    parts = [manifest.contents, *(components if isinstance(components, list) else [])]
    names = (part.get("model") for part in parts if isinstance(part, dict))
    return tuple(name for name in names if isinstance(name, str))


def _ranker(manifest: Manifest) -> str | None:
    ranking = manifest.contents.get("ranking")
    name = ranking.get("ranker") if isinstance(ranking, dict) else None
    return name if isinstance(name, str) else None
