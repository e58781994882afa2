"""Several worker processes, and who watches over them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from tastemap.errors import TastemapError

__all__ = ["Tell", "WorkerError", "supervise"]

log = logging.getLogger("tastemap.supervision")

Tell = Callable[[str | None], None]
"""What a worker says once: None when it is ready, or why it cannot start."""

_LONGEST_SECONDS = 60.0
_STEADY_SECONDS = 60.0
_GRACE_SECONDS = 15.0


class WorkerError(TastemapError):
    """A worker process cannot start; the message says why."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready_since: float | None = None
    reason: str | None = None


@dataclass
class _Place:
    """A place for one worker at a time.

    Attributes:
        failures: how often in a row a worker there could not start, or ended soon after.
        free_at: when the next one may start, by the monotonic clock.
    """

    worker: _Worker | None = None
    failures: int = 0
    free_at: float = 0.0


def supervise(
    work: Callable[[Tell], None],
    count: int,
    *,
    ready: Callable[[], None],
    missing: Callable[[int], None] = lambda n: None,
) -> None:
    """Keeps `count` processes at `work` until SIGINT or SIGTERM, then ends all in good order.

    A worker that dies is replaced at once. Where its place fails again and again, as while a disk
    is full, starts are put off longer and longer, up to a minute, and the others go on. Workers
    have a process group of their own, so that Ctrl-C reaches the supervisor alone, and end
    themselves when the supervisor is gone.

    Args:
        work: run in each process, picklable; it tells when it is ready or why it is not.
        count: of workers.
        ready: called when all have become ready for the first time.
        missing: called with the number of places where no worker is ready, from then on whenever
            it changes.

    Raises:
        WorkerError: a worker could not start at the beginning.
    """
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    places = [_Place() for _ in range(count)]
    announced, lacking = False, 0
    try:
        while not stopping.is_set():
            for place in places:
                if place.worker is None and time.monotonic() >= place.free_at:
                    place.worker = _start(work)
            _listen_to(places)
            for place in places:
                if place.worker is not None and not place.worker.process.is_alive():
                    _note_end(place, place.worker, at_start=not announced)
            now = sum(not (each.worker and each.worker.ready_since) for each in places)
            if announced and now != lacking:
                lacking = now
                missing(now)
            if not announced and now == 0:
                announced = True
                ready()
    finally:
        _end([place.worker for place in places if place.worker is not None])
        for one, handler in before.items():
            signal.signal(one, handler)


def _start(work: Callable[[Tell], None]) -> _Worker:
    # Not forked: threads of compiled loops do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(work, theirs))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _run(work: Callable[[Tell], None], pipe: Connection) -> None:
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_supervisor, args=(pipe,), daemon=True).start()
    work(pipe.send)


def _end_with_supervisor(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _listen_to(places: list[_Place]) -> None:
    """Waits a moment for workers to say something or to end."""
    workers = [place.worker for place in places if place.worker is not None]
    starting = [each for each in workers if each.ready_since is None]
    # Short, since a signal does not end the waiting.
    wait([each.process.sentinel for each in workers] + [each.pipe for each in starting], 0.2)
    for worker in starting:
        try:
            if worker.pipe.poll():
                worker.reason = worker.pipe.recv()
                if worker.reason is None:
                    worker.ready_since = time.monotonic()
        except (EOFError, OSError):
            pass  # it has died, as its sentinel will say


def _note_end(place: _Place, worker: _Worker, *, at_start: bool) -> None:
    code = worker.process.exitcode or 0
    reason = worker.reason or f"it ended with {'signal' if code < 0 else 'code'} {abs(code)}"
    worker.pipe.close()
    if at_start:
        raise WorkerError(f"a worker cannot start: {reason}")
    place.worker = None
    since = worker.ready_since
    steady = since is not None and time.monotonic() - since > _STEADY_SECONDS
    place.failures = 1 if steady else place.failures + 1
    # At once the first time, then after 1, 2, 4, … seconds; no power is too large for a float.
    steps = min(place.failures - 2, 30)
    delay = 0.0 if steps < 0 else min(2.0**steps, _LONGEST_SECONDS)
    log.error("worker %s: %s; another starts in %g s", worker.process.pid, reason, delay)
    place.free_at = time.monotonic() + delay


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            log.error("worker %s does not end; it is killed", worker.process.pid)
            worker.process.kill()
            worker.process.join()
        worker.pipe.close()
