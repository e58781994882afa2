"""Whether answers have become worse since a release took over, so that the one before comes back.

Counts come from whoever answers, as totals since the process began. They are looked at every few
seconds, and when the release changes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tastemap.errors import ParameterError, TastemapError

__all__ = ["Counts", "Tally", "Watchdog"]

Q = TypeVar("Q")
A = TypeVar("A")

_GOOD_BEFORE = 100


@dataclass(frozen=True, slots=True)
class Counts:
    """How many questions were answered, and how many of them badly.

    Attributes:
        answers: questions in all, those that failed too.
        failures: of these, those that ended in an exception or in a degraded answer.
    """

    answers: int = 0
    failures: int = 0

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(self.answers - earlier.answers, self.failures - earlier.failures)

    @property
    def share(self) -> float:
        """Of the answers, how many failed; 0 where there were none."""
        return self.failures / self.answers if self.answers else 0.0


class Watchdog:
    """Compares the failures since a swap with those just before it.

    It says to go back where the share of failures is at least `share`, and surely higher than
    before: Fisher's exact test, one-sided, is significant at `significance`, which is strict as it
    is asked again and again. What failed before already, since a disk is full or another machine is
    down, is so no fault of the new release. Where little was asked before, a hundred good answers
    are taken for granted. After `seconds` the release has stood the test, and what fails later has
    other causes.

    Args:
        counts: gives the totals so far. Any thread's; it is called by the one that looks.
        share: of failures, below which nothing is done.
        least: answers of the new release, below which nothing is said.
        seconds: how long a new release is watched, and how far back the time before it reaches.
        significance: the probability of going back without a cause, at one look.

    Raises:
        ParameterError: an argument out of its range.
    """

    def __init__(
        self,
        counts: Callable[[], Counts],
        *,
        share: float = 0.05,
        least: int = 20,
        seconds: float = 600.0,
        significance: float = 1e-4,
    ) -> None:
        if not 0 < share <= 1 or least < 1 or not seconds > 0 or not 0 < significance < 0.5:
            raise ParameterError(
                f"Watchdog: share {share!r}, least {least!r}, seconds {seconds!r} and significance "
                f"{significance!r} must be in (0, 1], at least 1, above 0, and in (0, 0.5)"
            )
        self.counts = counts
        self.share = share
        self.least = least
        self.seconds = seconds
        self.significance = significance
        self._past = deque([(-math.inf, Counts())])
        self._swap: tuple[float, Counts, Counts] | None = None

    def swapped(self, now: float) -> None:
        """To be called when a release takes over; `now` is of a clock that never goes back."""
        total = self.counts()
        self._swap = (now, total, total - self._past[0][1])
        self._past = deque([(now, total)])

    def bad(self, now: float) -> str | None:
        """Why to go back to the release before, or None. To be called every few seconds."""
        total = self.counts()
        # The last one that is older than the window stays, so that the window is always whole.
        while len(self._past) > 1 and self._past[1][0] <= now - self.seconds:
            self._past.popleft()
        self._past.append((now, total))
        if self._swap is None:
            return None
        moment, at_swap, before = self._swap
        if now - moment > self.seconds:
            self._swap = None
            return None
        since = total - at_swap
        if since.answers < self.least or since.share < self.share:
            return None
        if _chance(before, since) >= self.significance:
            return None
        return (
            f"{since.failures:,} of {since.answers:,} answers failed in {now - moment:.0f} s, and "
            f"{before.failures:,} of {before.answers:,} before"
        )


class Tally:
    """Totals of what one thread answers.

    An answer that is an exception of tastemap, such as an unknown item, is no failure: it tells the
    asker what was wrong with the question. One that names what was left out of it (`degraded`) is.
    """

    def __init__(self) -> None:
        self.total = Counts()

    def counted(
        self, answer: Callable[[Sequence[Q]], list[A | Exception]], questions: Sequence[Q]
    ) -> list[A | Exception]:
        """Asks, and counts what comes; whatever is raised goes on to the caller."""
        found: list[A | Exception] | None = None
        try:
            found = answer(questions)
            return found
        finally:
            failed = len(questions) if found is None else sum(map(_is_failure, found))
            # Replaced as a whole, so that another thread never sees half of it.
            self.total = Counts(self.total.answers + len(questions), self.total.failures + failed)


def _is_failure(answer: object) -> bool:
    if isinstance(answer, Exception):
        return not isinstance(answer, TastemapError)
    return bool(getattr(answer, "degraded", ()))


def _chance(before: Counts, since: Counts) -> float:
    """How probable so many failures are since then, or more, where nothing has changed.

    Fisher's exact test: of all failures, as many as chance puts among the later answers.
    """
    failures = before.failures + since.failures
    n, m = before.answers + _GOOD_BEFORE, since.answers

    def log_ways(among: int, some: int) -> float:
        return math.lgamma(among + 1) - math.lgamma(some + 1) - math.lgamma(among - some + 1)

    total, chance = log_ways(n + m, m), 0.0
    for later in range(since.failures, min(failures, m) + 1):
        if failures - later > n:
            continue
        good = n + m - failures
        term = math.exp(log_ways(failures, later) + log_ways(good, m - later) - total)
        chance += term
        if term < 1e-9 * chance:
            break
    return chance
