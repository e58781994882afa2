"""The manifest of a checked directory: what the directory is, and the checksum of each file in it.

manifest.toml     format_version, kind, created, written_by; what the caller gives; [files]
manifest.sha256   the checksum of manifest.toml itself, in the form `sha256sum --check` reads
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

import tomli_w

from tastemap import __version__
from tastemap.errors import ReleaseError
from tastemap.storage.atomic import replace_file, replaced_copies
from tastemap.storage.values import put_nulls, to_toml

__all__ = [
    "CHECKSUM_NAME",
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "FileRecord",
    "Manifest",
    "amend_manifest",
    "open_inside",
    "read_manifest",
    "write_manifest",
]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.toml"
CHECKSUM_NAME = "manifest.sha256"
RESERVED_KEYS = ("format_version", "kind", "created", "written_by", "nulls", "files")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
FILE_PATTERN = re.compile(rf"{NAME_PATTERN.pattern}\.(safetensors|parquet)")
RESTORE = "Save it again, or copy the whole directory again from where it was written"


@dataclass(frozen=True)
class FileRecord:
    """What the manifest says of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A manifest, read and checked against its checksum (the other files are not looked at).

    Attributes:
        kind: what the directory holds: "model", "pipeline".
        created: when it was written, UTC.
        written_by: the program and version that wrote it.
        contents: everything the caller gave.
        files: a record for each file, by file name.
        sha256: the checksum of `manifest.toml`; it stands for the contents of the whole directory.
        bytes: size of all files together, the manifest included.
    """

    kind: str
    created: datetime
    written_by: str
    contents: dict[str, Any]
    files: dict[str, FileRecord]
    sha256: str
    bytes: int


def write_manifest(
    directory: Path,
    *,
    kind: str,
    contents: Mapping[str, Any],
    files: Mapping[str, FileRecord],
    created: datetime | None = None,
) -> None:
    """Write `manifest.toml` and its checksum into a directory that is not yet in its place.

    Values of `contents` are strings, booleans, numbers, dates, and lists and mappings of them, of
    Python or NumPy. An entry of a mapping may be None (TOML has no null, so these are listed under
    the key `nulls`).

    Raises:
        ReleaseError: a reserved key, or a value that TOML cannot hold; the message says where.
    """
    for key in RESERVED_KEYS:
        if key in contents:
            raise ReleaseError(f"the manifest's key {key!r} is reserved. Choose another name")
    plain, nulls = to_toml(contents)
    document = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "created": created or datetime.now(UTC),
        "written_by": f"tastemap {__version__}",
        "nulls": nulls,
        **plain,
        "files": {
            name: {"bytes": record.bytes, "sha256": record.sha256}
            for name, record in sorted(files.items())
        },
    }
    text = tomli_w.dumps(document).encode()
    replace_file(directory / MANIFEST_NAME, text)
    replace_file(directory / CHECKSUM_NAME, _checksum_line(hashlib.sha256(text).hexdigest()))


def read_manifest(path: str | Path) -> Manifest:
    """Read and check the manifest of the directory `path`; the other files are not looked at.

    Raises:
        ReleaseError: nothing at `path`, not a directory of this kind, an edited or truncated
            manifest, or one written in a newer format.
    """
    path = Path(path)
    _require_directory(path)
    text = _read_inside(path, MANIFEST_NAME)
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ReleaseError(
            f"{path / MANIFEST_NAME} is not readable as TOML, so it was edited or damaged "
            f"({error}). {RESTORE}"
        ) from error
    version = document.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ReleaseError(
            f"{path} was written in format {version} by {document.get('written_by')!s:.50}, and "
            f"tastemap {__version__} reads formats up to {FORMAT_VERSION}. "
            "Upgrade with `pip install --upgrade tastemap`"
        )
    sha256 = hashlib.sha256(text).hexdigest()
    checksum = _read_inside(path, CHECKSUM_NAME)
    if checksum != _checksum_line(sha256):
        raise ReleaseError(
            f"{path / MANIFEST_NAME} was edited or damaged: its checksum is not the one in "
            f"{CHECKSUM_NAME}. {RESTORE}"
        )
    return _parse(path, document, sha256, len(text) + len(checksum))


def amend_manifest(directory: Path, additions: Mapping[str, Any]) -> None:
    """Add entries to the manifest of a directory that is not yet in its place.

    Raises:
        ReleaseError: the manifest is damaged, or an entry cannot be written.
    """
    manifest = read_manifest(directory)
    write_manifest(
        directory,
        kind=manifest.kind,
        contents={**manifest.contents, **additions},
        files=manifest.files,
        created=manifest.created,
    )


def open_inside(directory: Path, name: str) -> BufferedReader:
    """Open a plain file of `directory`; links, devices and pipes are refused.

    Raises:
        ReleaseError: it is missing, not a plain file, or not readable.
    """
    try:
        # O_NONBLOCK so that a pipe in the place of a file cannot make the reader wait for ever.
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ReleaseError(f"{directory} lacks the file {name}. {RESTORE}") from error
    except OSError as error:
        if os.path.islink(directory / name):
            raise ReleaseError(
                f"{directory / name} is a symbolic link, and links are not followed. {RESTORE}"
            ) from error
        raise ReleaseError(f"{directory / name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ReleaseError(f"{directory / name} is not a plain file. {RESTORE}")
    return os.fdopen(descriptor, "rb")


def _read_inside(directory: Path, name: str) -> bytes:
    with open_inside(directory, name) as file:
        return file.read()


def _checksum_line(sha256: str) -> bytes:
    return f"{sha256}  {MANIFEST_NAME}\n".encode()


def _require_directory(path: Path) -> None:
    try:
        names = os.listdir(path)
    except NotADirectoryError as error:
        raise ReleaseError(
            f"{path} is a file, and a saved model or pipeline is a directory. "
            "Name the directory itself"
        ) from error
    except FileNotFoundError as error:
        message = f"there is nothing at {path}. Check the path, or train and save there first"
        if aside := replaced_copies(path):
            message = (
                f"there is nothing at {path}: a save over it was interrupted. The copy from before "
                f"is whole at {aside[-1]}; rename it to {path.name}"
            )
        raise ReleaseError(message) from error
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    if MANIFEST_NAME not in names:
        raise ReleaseError(
            f"{path} is not a model or pipeline saved by tastemap: it holds no {MANIFEST_NAME}. "
            "Check the path"
        )


def _parse(path: Path, document: dict[str, Any], sha256: str, manifest_bytes: int) -> Manifest:
    """The checksum holds, but whoever wrote the file may not have been this program."""
    match document:
        case {
            "format_version": int(),
            "kind": str(kind),
            "created": datetime(tzinfo=zone) as created,
            "written_by": str(written_by),
            "nulls": list(nulls),
            "files": dict(entries),
            **contents,
        } if zone is not None:
            put_nulls(contents, nulls)
        case _:
            raise ReleaseError(
                f"{path / MANIFEST_NAME} is not a manifest of tastemap: it needs "
                f"{', '.join(RESERVED_KEYS)}, each of its type. Check the path"
            )
    files = {}
    for name, entry in entries.items():
        if not FILE_PATTERN.fullmatch(name):
            raise ReleaseError(
                f"{path / MANIFEST_NAME} lists the file {name!r:.120}, which is not a plain name "
                "ending in .safetensors or .parquet. Do not use this directory"
            )
        match entry:
            case {"bytes": int(size), "sha256": str(digest), **rest} if not rest:
                files[name] = FileRecord(size, digest)
            case _:
                raise ReleaseError(
                    f"{path / MANIFEST_NAME}: the entry of {name} needs bytes and sha256. {RESTORE}"
                )
    total = manifest_bytes + sum(record.bytes for record in files.values())
    return Manifest(kind, created, written_by, contents, files, sha256, total)
