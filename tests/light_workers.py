"""Workers that start fast, for tests of the supervisor: they import next to nothing."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tastemap.supervision import Tell, supervise


@dataclass(frozen=True)
class Flaky:
    """Dies as soon as it is ready; from a certain start on it cannot even become ready."""

    folder: Path
    good_starts: int

    def __call__(self, tell: Tell) -> None:
        (self.folder / f"start {time.monotonic_ns()} {os.getpid()}").touch()
        if len(list(self.folder.glob("start *"))) > self.good_starts:
            tell("the moon is not right")
            raise SystemExit(1)
        tell(None)
        time.sleep(0.3)


@dataclass(frozen=True)
class Hindered:
    """Works on, and cannot start while there is a file `full`."""

    folder: Path

    def __call__(self, tell: Tell) -> None:
        (self.folder / f"start {time.monotonic_ns()} {os.getpid()}").touch()
        if (self.folder / "full").exists():
            tell("the disk is full")
            raise SystemExit(1)
        tell(None)
        time.sleep(600)


def steady(tell: Tell) -> None:
    """Tells its process id and works on."""
    print(os.getpid(), flush=True)
    tell(None)
    time.sleep(600)


if __name__ == "__main__":
    supervise(steady, int(sys.argv[1]), ready=partial(print, "ready", flush=True))
