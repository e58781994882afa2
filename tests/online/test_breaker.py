"""The laws of the circuit breaker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tastemap.errors import ParameterError
from tastemap.online.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class AsDescribed(RuleBasedStateMachine):
    """Calls, outcomes and time in any order, beside a book of all since it last closed."""

    @initialize(
        failures=st.integers(1, 5),
        share=st.sampled_from([0.2, 0.5, 1.0]),
        window=st.integers(1, 8),
        pause=st.sampled_from([0.5, 3.0]),
    )
    def begin(self, failures: int, share: float, window: int, pause: float) -> None:
        self.clock = Clock()
        self.failures, self.share, self.window, self.pause = failures, share, window, pause
        self.breaker = Breaker(
            failures=failures, share=share, window=window, pause=pause, clock=self.clock
        )
        self.outcomes: list[bool] = []  # since it last closed
        self.opened_at = self.probed_at = 0.0

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def ask(self) -> None:
        before = self.breaker.state
        allowed = self.breaker.allow()
        if before == "closed":
            assert allowed
        else:
            since = self.opened_at if before == "open" else self.probed_at
            assert allowed == (self.clock.now >= since + self.pause)
            if allowed:
                self.probed_at = self.clock.now
                assert self.breaker.state == "half-open"
                assert not self.breaker.allow()  # one probe, not two

    @rule()
    def succeed(self) -> None:
        before = self.breaker.state
        self.breaker.succeeded()
        assert self.breaker.state == ("open" if before == "open" else "closed")
        if before == "half-open":
            self.outcomes = []
        self.outcomes.append(True)

    @rule()
    def fail(self) -> None:
        before = self.breaker.state
        self.breaker.failed()
        if before != "closed":
            assert self.breaker.state == "open"
        else:
            self.outcomes.append(False)
            row = self.outcomes[-self.failures :]
            last = self.outcomes[-self.window :]
            too_many = (len(row) == self.failures and not any(row)) or (
                len(last) == self.window and last.count(False) >= self.share * self.window
            )
            assert self.breaker.state == ("open" if too_many else "closed")
        if before != "open" and self.breaker.state == "open":
            self.opened_at = self.clock.now

    @precondition(lambda self: self.breaker.state != "closed")
    @rule()
    def recover(self) -> None:
        """From wherever it stands: a pause, and a probe that goes well."""
        self.clock.now += self.pause
        assert self.breaker.allow()
        self.breaker.succeeded()
        assert self.breaker.state == "closed" and self.breaker.allow()
        self.outcomes = [True]

    @invariant()
    def lets_all_through_when_closed(self) -> None:
        if self.breaker.state == "closed":
            assert self.breaker.allow() and self.breaker.allow()


AsDescribed.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAsDescribed = AsDescribed.TestCase


@given(
    failures=st.integers(2, 6),
    outcomes=st.lists(st.booleans(), max_size=60),
)
def test_a_success_between_failures_keeps_it_closed(failures: int, outcomes: list[bool]) -> None:
    breaker = Breaker(failures=failures, share=1.0, window=100)
    run = 0
    for good in outcomes:
        run = 0 if good or run + 1 == failures else run + 1
        (breaker.failed if run else breaker.succeeded)()
        assert breaker.state == "closed"
    assert breaker.opened == breaker.refused == 0


@pytest.mark.parametrize("threads", [2, 8])
def test_one_probe_among_many_threads(threads: int) -> None:
    clock = Clock()
    breaker = Breaker(failures=1, pause=1.0, clock=clock)
    for turn in range(30):
        breaker.failed()
        clock.now += 1.0
        together = threading.Barrier(threads)

        def ask(together: threading.Barrier = together) -> int:
            together.wait()
            return sum(breaker.allow() for _ in range(5))

        with ThreadPoolExecutor(threads) as pool:
            asked = [pool.submit(ask) for _ in range(threads)]
        assert sum(each.result() for each in asked) == 1
        assert breaker.opened == turn + 1
        assert breaker.refused == (turn + 1) * (5 * threads - 1)


def test_outcomes_of_many_threads_are_all_counted() -> None:
    breaker = Breaker(failures=4001, share=1.0, window=5000)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(lambda: [breaker.failed() for _ in range(1000)])
    assert breaker.state == "closed"
    breaker.failed()
    assert breaker.state == "open"


@pytest.mark.parametrize(
    "wrong", [{"failures": 0}, {"window": 0}, {"share": 0.0}, {"share": 1.5}, {"pause": 0.0}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="breaker"):
        Breaker(**wrong)  # type: ignore[arg-type]
