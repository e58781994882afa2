"""The service as a process of its own, as people run it, for tests that speak HTTP to it."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import httpx

_PROGRAM = """
import sys
from pathlib import Path
from tastemap.console import PAGE
from tastemap.online import CacheOptions, Operating, serve
release, state, workers, redis, precomputed, *keys = sys.argv[1:]
serve(
    Path(release), Path(state),
    port=0, page=PAGE, workers=int(workers),
    operating=Operating.of(*map(Path, keys)),
    cache=CacheOptions(redis) if redis else None,
    precomputed=precomputed or None,
)
"""


class Served:
    """A server process on a free port: `with Served(release, state) as served: served.http…`.

    Args:
        redis: where answers are remembered, "" for nowhere.
        precomputed: where answers made in advance are, "" for nowhere.
        before: Python to run first in that process.
        keys: a file of keys that it asks for.
    """

    def __init__(
        self,
        release: Path,
        state: Path,
        *,
        workers: int = 1,
        redis: str = "",
        precomputed: str = "",
        before: str = "",
        keys: Path | None = None,
    ) -> None:
        arguments = [release, state, workers, redis, precomputed]
        arguments += [] if keys is None else [keys]
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + _PROGRAM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.state = state
        self.output: list[str] = []
        found: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(found,), daemon=True)
        self._reader.start()
        try:
            self.url = found.get(timeout=120)
        except queue.Empty:
            self.process.kill()
            raise AssertionError("no URL was printed:\n" + "".join(self.output)) from None
        if not self.url:
            raise AssertionError("the server ended:\n" + "".join(self.output))
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def _read(self, found: queue.Queue[str]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if url := re.search(r"http://[\w.:]+", line):
                found.put(url[0])
        found.put("")

    def workers(self) -> list[int]:
        """Process ids of the workers, those that are starting too."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # One child is multiprocessing's own.
        return [
            int(child)
            for child in children
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(timeout=10)
