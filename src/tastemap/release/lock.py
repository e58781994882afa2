"""One writer at a time for a release store."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tastemap.errors import ReleaseError

__all__ = ["exclusive"]


@contextmanager
def exclusive(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block, against processes and threads alike.

    The kernel drops the lock when its holder ends, however it ends, so a lock is never stale; the
    file itself stays, and holds the process id of whoever locked it last.

    Raises:
        ReleaseError: another writer still holds it after `wait_seconds`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                    raise ReleaseError(
                        f"process {holder or '?'} has been writing to {path.parent} for more than "
                        f"{wait_seconds:g} s. Wait until it has ended, or end it, and try again"
                    ) from error
                time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
