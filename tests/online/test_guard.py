"""Work whose stages are given up when they are late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tastemap.online.guard import Guard
from tastemap.pipeline.stages import StageError

Run = Callable[[], str]


def without(guard: Guard, stage: str, function: Run) -> str:
    """What a stage gives, or "none"."""
    try:
        return guard.run(stage, function)
    except StageError as error:
        assert error.stage == stage
        return "none"


def test_a_late_stage_is_done_without_and_its_thread_does_nothing_more() -> None:
    guard = Guard(0.05)
    seen: list[tuple[str, str]] = []
    guard.observe = lambda stage, seconds, outcome: seen.append((stage, outcome))
    released, done = threading.Event(), []

    def hang() -> str:
        released.wait()
        return "late"

    def work() -> list[str]:
        found = [without(guard, "first", lambda: "a"), without(guard, "slow", hang)]
        done.append(found)
        return [*found, without(guard, "last", lambda: "z")]

    assert guard.complete(work) == ["a", "none", "z"]
    assert done == [["a", "none"]]
    assert seen == [("first", "ok"), ("slow", "late"), ("first", "ok"), ("last", "ok")]
    released.set()
    deadline = time.monotonic() + 5
    while guard._stages["slow"].n_hanging() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert guard._stages["slow"].n_hanging() == 0
    # What the thread had in hand when it came back, nobody has seen.
    assert done == [["a", "none"]]
    assert ("slow", "ok") not in seen


def test_each_stage_has_all_of_its_time() -> None:
    guard = Guard(0.6)
    stages = [without(guard, str(n), lambda: "-") for n in range(3)]

    def work() -> list[str]:
        for n in range(3):
            stages[n] = without(guard, str(n), lambda: (time.sleep(0.25), "in time")[1])
        time.sleep(0.7)  # outside of the stages there is no deadline
        return stages

    assert guard.complete(work) == ["in time"] * 3


def test_what_waits_behind_a_stage_that_hangs_is_done() -> None:
    guard, released = Guard(0.1), threading.Event()
    found: dict[int, str] = {}

    def ask(n: int) -> None:
        found[n] = guard.complete(
            lambda: without(guard, "stage", lambda: str(n) if n else str(released.wait()))
        )

    askers = [threading.Thread(target=ask, args=(n,)) for n in range(5)]
    for each in askers:
        each.start()
        time.sleep(0.01)
    for each in askers:
        each.join(5)
    released.set()
    assert found == {0: "none", 1: "1", 2: "2", 3: "3", 4: "4"}


def test_a_stage_gets_only_so_many_threads() -> None:
    guard, released = Guard(0.03, pause=60), threading.Event()
    before = threading.active_count()
    try:
        for _ in range(8):
            assert (
                guard.complete(lambda: without(guard, "slow", lambda: str(released.wait())))
                == "none"
            )
        assert threading.active_count() <= before + 4
        assert guard._stages["slow"].n_hanging() == 4
    finally:
        released.set()


def test_what_work_raises_comes_out_and_the_next_is_done() -> None:
    guard = Guard(5)

    def bad() -> str:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        guard.complete(bad)
    assert guard.complete(lambda: without(guard, "stage", bad)) == "none"
    assert guard.complete(lambda: "fine") == "fine"
    assert guard.states() == {"stage": "closed"}
