"""Where trials are measured: in this process, or in several of their own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol, Self

from tastemap.errors import TastemapError
from tastemap.tuning.measuring import Bench, Measured, OnEpoch, Task

__all__ = ["Stopped", "WorkerError", "Workers"]

# Each library reads its own when it is loaded.
_THREADS = (
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


class Stopped(Exception):
    """A trial was ended from outside."""


class WorkerError(TastemapError):
    """A trial could not be measured; the message is that of the failure, with its traceback."""


class _Worker(Protocol):
    def measure(self, task: Task, on_epoch: OnEpoch | None) -> Measured: ...
    def close(self) -> None: ...


class Workers:
    """So many trials are measured at a time.

    One is measured in this process, on all its threads. Several have a process each, started anew
    (a script that asks for them needs `if __name__ == "__main__":`), with its share of the cores
    and a copy of the data.
    """

    def __init__(self, bench: Bench, jobs: int) -> None:
        self._all: list[_Worker] = []
        if jobs == 1:
            self._all.append(_Here(bench))
        else:
            self._all += [_Process(bench, jobs) for _ in range(jobs)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def measure(self, task: Task, on_epoch: OnEpoch | None = None) -> Measured:
        """Measures on a worker that is free, or waits for one.

        Raises:
            Stopped: by `on_epoch`, or since the workers were closed.
            WorkerError, TastemapError: it could not be measured.
        """
        worker = self._free.get()
        try:
            return worker.measure(task, on_epoch)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """Ends the workers, at once, whatever they are doing."""
        for worker in self._all:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Here:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def measure(self, task: Task, on_epoch: OnEpoch | None) -> Measured:
        try:
            return self._bench.measure(task, on_epoch)
        except (Stopped, TastemapError):
            raise
        except Exception as error:
            raise WorkerError(_described(error)) from error

    def close(self) -> None:
        pass


class _Process:
    """A process that measures what it is sent and asks after every epoch whether to go on."""

    def __init__(self, bench: Bench, jobs: int) -> None:
        self._bench, self._jobs = bench, jobs
        self._closed = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._bench), daemon=True)
        with _threads_each(self._jobs):
            self._process.start()
        theirs.close()

    def measure(self, task: Task, on_epoch: OnEpoch | None) -> Measured:
        try:
            self._pipe.send(task)
            return self._await(on_epoch)
        except (EOFError, OSError):
            # OSError: the other end was closed while this one was writing.
            if self._closed:
                raise Stopped from None
            self._process.join()
            code = self._process.exitcode
            self._start()
            raise WorkerError(
                f"a worker ended with exit code {code}; was there too little memory? "
                "Try fewer --jobs"
            ) from None

    def _await(self, on_epoch: OnEpoch | None) -> Measured:
        while True:
            kind, said = self._pipe.recv()
            if kind == "measured":
                assert isinstance(said, Measured)
                return said
            if kind == "failed":
                raise said
            if kind == "stopped":
                raise Stopped
            go_on = True
            try:
                if on_epoch is not None:
                    on_epoch(said)
            except Stopped:
                go_on = False
            self._pipe.send(go_on)

    def close(self) -> None:
        self._closed = True
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, bench: Bench) -> None:
    # Ctrl-C reaches all processes of a terminal; what becomes of it is decided by the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def ask(measured: Mapping[str, float]) -> None:
        pipe.send(("epoch", dict(measured)))
        if not pipe.recv():
            raise Stopped

    # These say that the first process has ended, and so does this one.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_measured(bench, pipe.recv(), ask))


def _measured(bench: Bench, task: Task, ask: OnEpoch) -> tuple[str, Any]:
    try:
        return "measured", bench.measure(task, ask)
    except Stopped:
        return "stopped", None
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except TastemapError as error:
        # As a new one, since some errors with arguments of their own cannot be sent.
        return "failed", WorkerError(str(error))
    except Exception as error:
        return "failed", WorkerError(_described(error))


def _described(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.name}, line {last.lineno} of {last.filename})"


@contextmanager
def _threads_each(jobs: int) -> Iterator[None]:
    """Environment variables for processes that share the cores; those set before are limits."""
    before = {name: os.environ.get(name) for name in (*_THREADS, "OMP_WAIT_POLICY")}
    share = max(1, len(os.sched_getaffinity(0)) // jobs)
    for name in _THREADS:
        given = before[name]
        os.environ[name] = str(min(share, int(given)) if given and given.isdigit() else share)
    # Threads that spin while they wait would take the cores from each other.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
