"""Files and directories that appear on disk whole or not at all, also after a power cut.

The order is always the same: write under a hidden name beside the final place, flush the contents
to the disk (`fsync`), rename, and flush the directory that holds the name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tastemap.errors import ReleaseError

__all__ = [
    "hide",
    "is_leftover",
    "move_into_place",
    "replace_file",
    "replaced_copies",
    "staging_directory",
    "unfinished_file",
]

_STAGED = ".staged"
_REPLACED = ".replaced"


def hidden_sibling(path: Path, ending: str) -> Path:
    """A name beside `path` that nobody else uses and that listings leave out."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{ending}")


def hide(path: Path) -> Path:
    """Rename `path` to a hidden name, before it is deleted; gives the new name."""
    hidden = hidden_sibling(path, _REPLACED)
    os.rename(path, hidden)
    return hidden


def is_leftover(path: Path) -> bool:
    """Whether `path` has the hidden name of something that an interrupted write left behind."""
    return path.name.startswith(".") and path.name.endswith((_STAGED, _REPLACED))


def replaced_copies(path: Path) -> list[Path]:
    """What a killed overwrite of `path` had moved aside: complete, under a hidden name."""
    return sorted(path.parent.glob(f".{path.name}.????????{_REPLACED}"))


def sync(path: Path) -> None:
    """Flush one file's contents, or the names that a directory holds, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush every file of a flat directory, then the directory itself."""
    for entry in directory.iterdir():
        sync(entry)
    sync(directory)


def replace_file(path: Path, contents: bytes) -> None:
    """Put `contents` at `path` in one step: a reader sees the old bytes or the new ones."""
    staged = hidden_sibling(path, _STAGED)
    try:
        with staged.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def unfinished_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write at length, which stands at `path` when the block has ended well.

    Its hidden name is always the same, so that what a killed writer left is written over.

    Raises:
        ReleaseError: another process is writing the same file, or there is no folder for it.
    """
    if not path.parent.is_dir():
        raise ReleaseError(f"{path}: there is no folder {path.parent}. Make it first")
    staged = path.with_name(f".{path.name}.unfinished")
    with staged.open("ab") as file:
        if not _locked(file, staged):
            raise ReleaseError(
                f"another process is writing {path}. Wait until it has ended, or end it"
            )
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
    sync(path.parent)


def _locked(file: BinaryIO, path: Path) -> bool:
    """Whether this is the one writer of a file. Another one may have ended, and so have renamed the
    file, between the opening of it and the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


@contextmanager
def staging_directory(path: Path) -> Iterator[Path]:
    """A new directory beside `path`, gone at the end of the block if it has not been moved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = hidden_sibling(path, _STAGED)
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def move_into_place(staged: Path, path: Path, *, overwrite: bool) -> None:
    """Rename the finished directory `staged` to `path`.

    POSIX cannot exchange two full directories in one step, so an overwrite moves the old one aside,
    moves the new one in, and then deletes the old one. A kill between the first two leaves the old
    one whole under a hidden name (see `replaced_copies`).

    Raises:
        ReleaseError: something stands at `path` and `overwrite` is false.
    """
    sync_tree(staged)
    aside: list[Path] = []
    while True:
        try:
            os.rename(staged, path)  # succeeds too where an empty directory stands
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                _put_back(aside, path)
                raise
        if not overwrite:
            raise ReleaseError(
                f"{path} exists already. Choose another place, or pass overwrite=True"
            )
        # Where another process, overwriting the same place, has moved it first: just try again.
        with suppress(FileNotFoundError):
            aside.append(hide(path))
    sync(path.parent)
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def _put_back(aside: list[Path], path: Path) -> None:
    if aside and not path.exists():
        os.rename(aside[-1], path)
