"""Stages with a deadline and a circuit breaker: a live service has no time for one that hangs."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tastemap.online.breaker import Breaker
from tastemap.pipeline.stages import StageError

__all__ = ["Attempt", "Guard"]

log = logging.getLogger("tastemap.online")

P = ParamSpec("P")
T = TypeVar("T")

# Threads that hang cannot be ended, so a stage gets only so many new ones.
_MAX_HANGING = 4


class Guard:
    """Has work done whose stages are given up when they are late.

    The work is done on one thread, stage after stage: to hand each stage to a thread of its own
    would cost more than many a stage takes, where threads have to wait for the interpreter. Who
    waits for the work looks at the clock, leaves a thread that hangs to itself, and has the work
    done anew by another one, without the late stage.

    A stage that fails or is late again and again is not asked for a pause, and then tried again
    (`Breaker`).

    Args:
        seconds: the deadline of a stage.
        pause: seconds before a stage that kept failing is tried again.

    Attributes:
        observe: called with the stage, the seconds that it took, and what came of it: "ok",
            "error", "late" or "open" (not asked).
    """

    def __init__(self, seconds: float, *, pause: float = 5.0) -> None:
        self.seconds = seconds
        self.pause = pause
        self.observe: Callable[[str, float, str], None] = lambda stage, seconds, outcome: None
        self._stages: dict[str, _Stage] = {}
        self._todo: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._here = threading.local()
        self._begin()

    def attempt(self) -> Attempt:
        """What runs the stages of one batch."""
        return Attempt(self)

    def renew(self) -> None:
        """Forgets how the stages did, since those of another release take their places."""
        for stage in list(self._stages.values()):
            stage.breaker = Breaker(pause=self.pause)

    def states(self) -> dict[str, str]:
        """How the breaker of each stage stands."""
        return {name: stage.breaker.state for name, stage in list(self._stages.items())}

    def resting(self) -> set[str]:
        """The stages that would not be asked now."""
        return {name for name, stage in list(self._stages.items()) if stage.breaker.resting}

    def complete(self, function: Callable[[], T]) -> T:
        """The result of work that asks for its stages by `run`. It is begun anew, as if it had
        never been, where a stage is late, so until its last stage it may change nothing.

        Raises:
            Exception: whatever the function raises.
        """
        late: frozenset[str] = frozenset()
        while True:
            work = _Work(function, late)
            self._todo.put(work)
            name = work.late_stage(self.seconds)
            if name is None:
                result: T = work.result()
                return result
            self._begin()
            stage = self._stages[name]
            stage.breaker.failed()
            stage.hanging.append(work)
            log.error("stage %s took longer than %.3g s", name, self.seconds)
            self.observe(name, self.seconds, "late")
            late |= {name}

    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; within `complete` with a deadline.

        Raises:
            StageError: it failed, took longer than the deadline, or is not asked for now.
        """
        work: _Work | None = getattr(self._here, "work", None)
        if work is not None and stage in work.late:
            raise StageError(stage, f"took longer than {self.seconds:g} s")
        kept = self._stages.get(stage)
        if kept is None:
            kept = self._stages.setdefault(stage, _Stage(Breaker(pause=self.pause)))
        if kept.n_hanging() >= _MAX_HANGING or not kept.breaker.allow():
            self.observe(stage, 0.0, "open")
            raise StageError(stage, "not asked, since it kept failing")
        began = time.perf_counter()
        if work is not None:
            work.begin(stage)
        problem: Exception | None = None
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            problem = error
        if work is not None:
            work.end()
        self.observe(stage, time.perf_counter() - began, "ok" if problem is None else "error")
        if problem is not None:
            kept.breaker.failed()
            log.error("stage %s failed", stage, exc_info=problem)
            raise StageError(stage, f"{type(problem).__name__}: {problem}") from problem
        kept.breaker.succeeded()
        return result

    def _begin(self) -> None:
        # A daemon, since the process must be able to end while one hangs.
        threading.Thread(target=self._serve, name="stages", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._here.work = work = self._todo.get()
            if not work.do():
                return  # another thread has taken this one's place
            del work


class Attempt:
    """The stages of one batch of questions.

    Attributes:
        failed: the stages that gave no result.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.failed: list[str] = []

    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return self._guard.run(stage, function, *args, **kwargs)
        except StageError:
            if stage not in self.failed:
                self.failed.append(stage)
            raise


class _Stage:
    """How a stage has done."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.hanging: list[_Work] = []

    def n_hanging(self) -> int:
        """Threads that it has not come back on."""
        self.hanging = [work for work in self.hanging if not work.over]
        return len(self.hanging)


class _GivenUp(BaseException):
    """Nobody waits for this work any more; no `except Exception` is to go on with it."""


class _Work:
    """What one thread does while another one waits.

    Args:
        function: the work.
        late: the stages that it is to do without.

    Attributes:
        over: whether the thread has come back.
    """

    def __init__(self, function: Callable[[], Any], late: frozenset[str]) -> None:
        self.late = late
        self.over = False
        self._function = function
        self._outcome: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._found: tuple[Any, Exception | None] = None, None
        self._lock = threading.Lock()
        self._stage, self._began = "", 0.0
        self._given_up = False

    # -- on the thread that works ---------------------------------------------------------------

    def do(self) -> bool:
        """Whether anybody has waited to the end."""
        try:
            self._outcome.put((self._function(), None))
        except _GivenUp:
            return False
        except Exception as error:
            self._outcome.put((None, error))
        finally:
            self.over = True
        return True

    def begin(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began = stage, time.perf_counter()

    def end(self) -> None:
        """It has ended, and none is at work.

        Raises:
            _GivenUp: nobody waits for what comes of it.
        """
        with self._lock:
            self._stage = ""
            if self._given_up:
                raise _GivenUp

    # -- on the thread that waits ---------------------------------------------------------------

    def late_stage(self, seconds: float) -> str | None:
        """Waits until the work is done, or a stage at work for longer than so many seconds: that
        stage, and then the work is given up."""
        wait = seconds
        while True:
            try:
                self._found = self._outcome.get(timeout=wait)
                return None
            except queue.Empty:
                pass
            with self._lock:
                stage = self._stage
                # Where no stage is at work, the next one has all of its time before it.
                wait = self._began + seconds - time.perf_counter() if stage else seconds
                if wait <= 0:
                    self._given_up = True
                    return stage

    def result(self) -> Any:
        """What has come of work that is done.

        Raises:
            Exception: what it has raised.
        """
        found, error = self._found
        if error is not None:
            raise error
        return found
