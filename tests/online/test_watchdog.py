"""When the release before comes back: the decision alone, on counts."""

from __future__ import annotations

import pytest
from scipy.stats import fisher_exact

from tastemap.errors import ParameterError
from tastemap.online.watchdog import Counts, Watchdog, _chance


class Service:
    """Totals that a test moves."""

    def __init__(self) -> None:
        self.total = Counts()
        self.watchdog = Watchdog(lambda: self.total)

    def answer(self, answers: int, failures: int) -> None:
        self.total = Counts(self.total.answers + answers, self.total.failures + failures)


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_release_that_fails_is_found_and_one_that_works_is_not(service: Service) -> None:
    service.answer(1000, 2)
    assert service.watchdog.bad(0.0) is None
    service.watchdog.swapped(1.0)
    service.answer(500, 1)
    assert service.watchdog.bad(2.0) is None
    service.watchdog.swapped(3.0)
    service.answer(40, 30)
    reason = service.watchdog.bad(4.0)
    assert reason == "30 of 40 answers failed in 1 s, and 1 of 500 before"


def test_few_answers_and_rare_failures_say_nothing(service: Service) -> None:
    service.answer(1000, 0)
    service.watchdog.swapped(0.0)
    service.answer(19, 19)
    assert service.watchdog.bad(1.0) is None
    service.answer(1, 1)
    assert service.watchdog.bad(2.0) is not None
    service.watchdog.swapped(3.0)
    service.answer(10_000, 400)  # surely more than before, and below the share that matters
    assert service.watchdog.bad(4.0) is None


def test_what_failed_before_is_not_the_new_releases_fault(service: Service) -> None:
    service.answer(400, 120)
    service.watchdog.bad(0.0)
    service.watchdog.swapped(1.0)
    service.answer(400, 130)
    assert service.watchdog.bad(2.0) is None


def test_trouble_just_before_the_swap_is_not_thinned_by_quiet_days(service: Service) -> None:
    service.answer(1_000_000, 0)
    for second in range(0, 3600, 2):
        service.watchdog.bad(float(second))
    for second in range(3600, 4300, 2):  # another machine goes down, and stays down
        service.answer(10, 5)
        service.watchdog.bad(float(second))
    service.watchdog.swapped(4300.0)
    service.answer(100, 55)
    assert service.watchdog.bad(4310.0) is None


def test_after_a_while_the_release_has_stood_the_test(service: Service) -> None:
    service.answer(1000, 0)
    service.watchdog.swapped(0.0)
    service.answer(1000, 0)
    assert service.watchdog.bad(601.0) is None
    service.answer(1000, 1000)
    assert service.watchdog.bad(602.0) is None


def test_nothing_is_said_before_the_first_swap(service: Service) -> None:
    service.answer(1000, 1000)
    assert service.watchdog.bad(1.0) is None


def test_the_probability_is_that_of_fishers_test() -> None:
    for before, since in [((900, 5), (40, 4)), ((0, 0), (20, 6)), ((5000, 700), (300, 60))]:
        good = before[0] + 100 - before[1]
        table = [[since[1], since[0] - since[1]], [before[1], good]]
        expected = fisher_exact(table, alternative="greater").pvalue
        assert _chance(Counts(*before), Counts(*since)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("wrong", [{"share": 0}, {"least": 0}, {"seconds": 0}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Watchdog(Counts, **wrong)  # type: ignore[arg-type]
