"""Ways to hold out a part of the events, to learn from the rest and to be judged by.

`GlobalTime` is the one to trust: everything before a moment is known, everything after is not. The
others let a model learn from events that came after those it is asked about; they are here because
published figures use them. See Ji et al. 2023, "A Critical Study on Data Leakage in Recommender
System Offline Evaluation" (TOIS 41(3)).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError, ParameterError

__all__ = ["GlobalTime", "LeaveOneOut", "RandomPerUser", "Split", "UserKFold"]

# What becomes of an event.
_TRAIN, _VALIDATION, _TEST, _DROPPED = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in parts.

    Attributes:
        train: what a model may learn from; it keeps the vocabularies of the whole data set.
        validation: what choices may be made by, or None where none was asked for.
        test: what the result is judged by.
        description: how the split was made, in words, with its tie rule and its leaks.
        fingerprint: a hash (16 hex digits) of the data set and of every event's part.
    """

    train: Dataset
    validation: Holdout | None
    test: Holdout
    description: str
    fingerprint: str

    def __repr__(self) -> str:
        n = 0 if self.validation is None else len(self.validation)
        return (
            f"Split({self.train.n_events:,} training events, {n:,} validation and "
            f"{len(self.test):,} test queries, {self.fingerprint})"
        )


class _Splitter:
    """Assigns each event a part; the rest is the same for all splits."""

    leaks: ClassVar[str] = ""

    def _parts(self, dataset: Dataset) -> NDArray[np.uint8]:
        """uint8 [events]: the part of each event, in the order of the data set's histories."""
        raise NotImplementedError

    def _as_of(self, truth: Histories) -> NDArray[np.float64]:
        """The moment of asking, float64 [B]: that of the first event to be foretold."""
        return truth.times[truth.offsets[:-1]]

    def _context(self, dataset: Dataset, held: NDArray[np.bool_]) -> pl.DataFrame | None:
        """The circumstances of each query, B rows, where all that it foretells shares them."""
        return None

    def split(self, dataset: Dataset) -> Split:
        """The parts of a data set.

        Raises:
            DataError: there is nothing left to learn from, or nothing to be judged by.
        """
        parts = self._parts(dataset)
        described = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))  # type: ignore[arg-type]
        name = f"{type(self).__name__}({described})"
        if not (parts == _TRAIN).any():
            raise DataError(f"{name} leaves no event to train on", remedy="Hold out less")
        test = self._holdout(dataset, parts, _TEST)
        if len(test) == 0:
            raise DataError(f"{name} leaves no event to test on", remedy="Hold out more")
        validation = self._holdout(dataset, parts, _VALIDATION)
        digest = hashlib.sha256(dataset.fingerprint.encode())
        digest.update(parts.tobytes())
        return Split(
            dataset.with_events(parts == _TRAIN),
            validation if len(validation) else None,
            test,
            f"{name}. {self.leaks}".strip(),
            digest.hexdigest()[:16],
        )

    def _holdout(self, dataset: Dataset, parts: NDArray[np.uint8], part: int) -> Holdout:
        h = dataset.histories
        truth = h.select(parts == part)
        users = np.flatnonzero(truth.counts > 0).astype(np.int32)
        truth = truth.take(users)
        # What came before is known: a test history holds the validation events too.
        known = h.select(parts < part).take(users)
        profile, context = dataset.profiles(users), self._context(dataset, parts == part)
        return Holdout(Queries(users, known, self._as_of(truth), profile, context), truth)


def _check_shares(owner: object, **shares: float) -> None:
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
            raise ParameterError(
                f"{type(owner).__name__}: {name} must be a share from 0 to below 1, got {share!r}"
            )
    if sum(shares.values()) >= 1:
        raise ParameterError(
            f"{type(owner).__name__}: {' and '.join(shares)} together must be below 1"
        )


def _needs_times(owner: object, dataset: Dataset) -> None:
    if not dataset.has_times:
        raise DataError(
            f"{type(owner).__name__} needs the times of events, and this data set has none",
            remedy="Map a time column, or use RandomPerUser",
        )


@dataclass(frozen=True)
class GlobalTime(_Splitter):
    """Everything before a moment is known, everything from it on is to be foretold.

    Args:
        test: the share of events to test on, or the moment (date, datetime or ISO text, UTC) from
            which on events are test events.
        validation: the same for the part just before; 0 for none.
        gap: seconds before each held-out part whose events belong to no part, for a service that
            learns with a delay.

    Events with equal times fall in one part: that of the first event at that time. So a share is
    met only up to ties.
    """

    test: float | str | date | datetime = 0.1
    validation: float | str | date | datetime = 0.1
    gap: float = 0.0
    leaks: ClassVar[str] = "Nothing of the future is seen; events of equal time share a part."

    def __post_init__(self) -> None:
        shares = {
            name: value
            for name, value in (("test", self.test), ("validation", self.validation))
            if not isinstance(value, (str, date))
        }
        _check_shares(self, **shares)
        if isinstance(self.test, (int, float)) and self.test == 0:
            raise ParameterError("GlobalTime: test must be above 0")
        if not self.gap >= 0:
            raise ParameterError(f"GlobalTime: gap must be seconds >= 0, got {self.gap!r}")

    def _parts(self, dataset: Dataset) -> NDArray[np.uint8]:
        _needs_times(self, dataset)
        times = dataset.histories.times
        by_time = np.sort(times)

        def moment(value: Any, later: float) -> float:
            if isinstance(value, (str, date)):
                return _seconds(value)
            if value == 0:
                return later
            known = np.searchsorted(by_time, later) if later < np.inf else len(by_time)
            return float(
                by_time[max(0, min(len(by_time) - 1, known - round(value * len(by_time))))]
            )

        test_from = moment(self.test, np.inf)
        validation_from = moment(self.validation, test_from)
        if validation_from > test_from:
            raise ParameterError("GlobalTime: validation must begin before test")
        parts = np.full(len(times), _TRAIN, np.uint8)
        parts[times >= validation_from] = _VALIDATION
        parts[times >= test_from] = _TEST
        if self.gap:
            for begin in {validation_from, test_from}:
                parts[(times < begin) & (times >= begin - self.gap)] = _DROPPED
        return parts

    def _as_of(self, truth: Histories) -> NDArray[np.float64]:
        # One moment for all: that of the part's first event.
        return np.full(len(truth), truth.times.min(initial=np.inf))


@dataclass(frozen=True)
class LeaveOneOut(_Splitter):
    """Each user's last event is tested on, the one before is for validation.

    Users with fewer than three events are only trained on. Of events with equal times the one that
    stands later in the input counts as later. Who is asked is asked in the circumstances of the
    event that is held out. This split lets the future leak: a model learns from
    events of other users that came after the moment it is asked about.

    Args:
        validation: whether the event before the last is held out too.
    """

    validation: bool = True
    leaks: ClassVar[str] = (
        "Ties in time keep the order of the input. The future leaks: other users' later events "
        "are in the training set."
    )

    def _parts(self, dataset: Dataset) -> NDArray[np.uint8]:
        h = dataset.histories
        from_end = np.repeat(h.offsets[1:], h.counts) - np.arange(h.n_events)
        enough = np.repeat(h.counts, h.counts) >= 3
        parts = np.full(h.n_events, _TRAIN, np.uint8)
        parts[(from_end == 1) & enough] = _TEST
        if self.validation:
            parts[(from_end == 2) & enough] = _VALIDATION
        return parts

    def _context(self, dataset: Dataset, held: NDArray[np.bool_]) -> pl.DataFrame | None:
        # One event of each user, in the order of users.
        return None if dataset.context is None else dataset.context.filter(pl.Series(held))


@dataclass(frozen=True)
class RandomPerUser(_Splitter):
    """A random share of each user's events is held out; the order of time is ignored.

    Of n events round(share × n) are held out. This split lets the future leak, of the user's own
    events too.

    Args:
        test: share of each user's events to test on.
        validation: share of each user's events for validation; 0 for none.
        seed: of the random choice.
    """

    test: float = 0.2
    validation: float = 0.0
    seed: int = 0
    leaks: ClassVar[str] = "The future leaks: a user's later events are in the training set."

    def __post_init__(self) -> None:
        _check_shares(self, test=self.test, validation=self.validation)

    def _parts(self, dataset: Dataset) -> NDArray[np.uint8]:
        h = dataset.histories
        return _random_parts(h, self.test, self.validation, np.random.default_rng(self.seed))

    def _as_of(self, truth: Histories) -> NDArray[np.float64]:
        return np.full(len(truth), np.inf)


@dataclass(frozen=True)
class UserKFold(_Splitter):
    """Users are held out: nothing of them is trained on, part of their history is given.

    Strong generalisation as of Liang et al. 2018 (Mult-VAE): the test users of fold f are those of
    the f-th part of a random order, the validation users those of the next part. Of a held-out
    user's events a random share `given` is the history, the rest is to be foretold.

    Args:
        folds: number of parts, at least 3.
        fold: which part is tested on, from 0.
        given: the share of a held-out user's events that is known.
        seed: of the random choices.
    """

    folds: int = 5
    fold: int = 0
    given: float = 0.8
    seed: int = 0
    leaks: ClassVar[str] = "Held-out users are never trained on; the order of time is ignored."

    def __post_init__(self) -> None:
        _check_shares(self, given=self.given)
        if self.folds < 3:
            raise ParameterError(f"UserKFold: folds must be at least 3, got {self.folds!r}")
        if not 0 <= self.fold < self.folds:
            raise ParameterError(f"UserKFold: fold must be from 0 to {self.folds - 1}")

    def splits(self, dataset: Dataset) -> Iterator[Split]:
        """One split for each fold."""
        for fold in range(self.folds):
            yield UserKFold(self.folds, fold, self.given, self.seed).split(dataset)

    def _assignment(self, dataset: Dataset) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng = np.random.default_rng(self.seed)
        n = len(dataset.users)
        part_of_user = rng.permutation(n) * self.folds // n
        held = _random_parts(dataset.histories, 1 - self.given, 0.0, rng) == _TEST
        role = np.full(n, _TRAIN, np.uint8)
        role[part_of_user == self.fold] = _TEST
        role[part_of_user == (self.fold + 1) % self.folds] = _VALIDATION
        return np.repeat(role, dataset.histories.counts), held.astype(np.uint8)

    def _parts(self, dataset: Dataset) -> NDArray[np.uint8]:
        role, held = self._assignment(dataset)
        return np.where((role != _TRAIN) & (held == 0), _DROPPED, role).astype(np.uint8)

    def _holdout(self, dataset: Dataset, parts: NDArray[np.uint8], part: int) -> Holdout:
        role, held = self._assignment(dataset)
        h = dataset.histories
        truth = h.select((role == part) & (held == 1))
        users = np.flatnonzero(truth.counts > 0).astype(np.int32)
        given = h.select((role == part) & (held == 0)).take(users)
        queries = Queries.of(given, users=users, profile=dataset.profiles(users))
        return Holdout(queries, truth.take(users))


def _random_parts(
    h: Histories, test: float, validation: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Shuffles each row's events and takes round(share × n) of them for a part."""
    rows = h.rows_of_events()
    order = np.lexsort((rng.random(h.n_events), rows))
    place = np.empty(h.n_events, np.int64)
    place[order] = np.arange(h.n_events) - np.repeat(h.offsets[:-1], h.counts)
    n_test = np.repeat(np.rint(test * h.counts).astype(np.int64), h.counts)
    n_validation = np.repeat(np.rint(validation * h.counts).astype(np.int64), h.counts)
    parts = np.full(h.n_events, _TRAIN, np.uint8)
    parts[place < n_test + n_validation] = _VALIDATION
    parts[place < n_test] = _TEST
    return parts


def _seconds(value: str | date | datetime) -> float:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ParameterError(
                f"GlobalTime: {value!r} is not a date; write it as 2024-05-31 or 2024-05-31T12:00"
            ) from None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value.timestamp()
