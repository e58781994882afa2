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
    """Runs each stage on a thread of its own, and waits no longer than its deadline.

    A stage that fails or is late again and again is not asked for a pause, and then tried again
    (`Breaker`). A thread that hangs is left to itself, and the next call has a new one.

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
        self._lanes: dict[str, _Lane] = {}

    def attempt(self) -> Attempt:
        """What runs the stages of one batch."""
        return Attempt(self)

    def renew(self) -> None:
        """Forgets how the stages did, since those of another release take their places."""
        for lane in list(self._lanes.values()):
            lane.breaker = Breaker(pause=self.pause)

    def states(self) -> dict[str, str]:
        """How the breaker of each stage stands."""
        return {stage: lane.breaker.state for stage, lane in list(self._lanes.items())}

    def resting(self) -> set[str]:
        """The stages that would not be asked now."""
        return {stage for stage, lane in list(self._lanes.items()) if lane.breaker.resting}

    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result.

        Raises:
            StageError: it failed, took longer than the deadline, or is not asked for now.
        """
        lane = self._lanes.get(stage)
        if lane is None:
            lane = self._lanes.setdefault(stage, _Lane(stage, Breaker(pause=self.pause)))
        if lane.hanging() >= _MAX_HANGING or not lane.breaker.allow():
            self.observe(stage, 0.0, "open")
            raise StageError(stage, "not asked, since it kept failing")
        began = time.perf_counter()
        outcome = "ok"
        try:
            result: T = lane.call(lambda: function(*args, **kwargs), self.seconds)
            lane.breaker.succeeded()
            return result
        except TimeoutError as error:
            outcome = "late"
            lane.breaker.failed()
            log.error("stage %s took longer than %.3g s", stage, self.seconds)
            raise StageError(stage, f"took longer than {self.seconds:g} s") from error
        except Exception as error:
            outcome = "error"
            lane.breaker.failed()
            log.exception("stage %s failed", stage)
            raise StageError(stage, f"{type(error).__name__}: {error}") from error
        finally:
            self.observe(stage, time.perf_counter() - began, outcome)


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


class _Call:
    """A call on another thread; what came of it is put into `outcome`: the result and None, or None
    and the exception."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()


class _Lane:
    """The thread of a stage, replaced when it hangs."""

    def __init__(self, stage: str, breaker: Breaker) -> None:
        self.breaker = breaker
        self._stage = stage
        self._hanging: list[_Call] = []
        self._begin()

    def _begin(self) -> None:
        self._work: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # A daemon, since the process must be able to end while one hangs.
        threading.Thread(
            target=_serve, args=(self._work,), name=f"stage-{self._stage}", daemon=True
        ).start()

    def hanging(self) -> int:
        self._hanging = [call for call in self._hanging if call.outcome.empty()]
        return len(self._hanging)

    def call(self, function: Callable[[], T], seconds: float) -> T:
        call = _Call(function)
        self._work.put(call)
        try:
            result, error = call.outcome.get(timeout=seconds)
        except queue.Empty:
            self._hanging.append(call)
            self._work.put(None)
            self._begin()
            raise TimeoutError from None
        if error is not None:
            raise error
        found: T = result
        return found


def _serve(work: queue.SimpleQueue[_Call | None]) -> None:
    while (call := work.get()) is not None:
        try:
            call.outcome.put((call.function(), None))
        except BaseException as error:
            call.outcome.put((None, error))
        del call
