"""A candidate against the release that is served, judged by the newest events.

What is compared is what each would show to the same people at one moment, some time before now:

- The **serving release as it answers live**: what it learned stays as it is, and the histories, as
  those of its live state, hold all events up to the moment. So do the ranker's counts of what is
  popular. Users who came since are strangers with a history to it; items that came since it cannot
  show, nor can their events speak for others.
- The **candidate** as it would have been published at that moment: the same models with the same
  hyper-parameters, fitted on everything up to it.

Judged is what these people did from then on, by events that neither has learned from: only those
after the release's part of the log can be. All items count, since that the release cannot show new
ones is part of what people get from it; the same figures over items that both know stand beside,
and say whether the candidate also knows the old ones better. A choice that was in the history is
not counted: what is shown leaves out what was seen.

Where events tell their circumstances, a person is asked in each of those in which they chose
something, by both sides, and is judged by what they chose in these. Each person counts once, with
the mean over their questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.splits import Split
from tastemap.errors import DataError
from tastemap.evaluation import evaluate
from tastemap.metrics import bootstrap_interval
from tastemap.online.retraining.as_served import AsServed
from tastemap.online.retraining.gathering import Gathered
from tastemap.retrieval.recommender import Recommendations, Recommender

__all__ = ["Contest", "Gap", "contest", "newest"]

# Questions that both are asked; the people of more are drawn from.
_MAX_QUESTIONS = 20_000


@dataclass(frozen=True)
class Gap:
    """By how much the candidate is better than the serving release, person by person.

    Attributes:
        served, candidate: the metric of each.
        difference: its mean over people, candidate less served.
        low, high: the ends of its bootstrap interval over people.
    """

    served: float
    candidate: float
    difference: float
    low: float
    high: float

    def loses(self, margin: float) -> bool:
        """Whether the candidate is worse: the interval lies below 0, or the mean is lower by more
        than `margin`, a share of what the serving release has."""
        return self.high < 0 or self.difference < -margin * self.served


@dataclass(frozen=True)
class Contest:
    """How a candidate did against the release that is served.

    Attributes:
        moment: at which both were asked, Unix seconds.
        n_users: people who were judged.
        n_events: what they chose, in all.
        metric: what decides.
        gaps: by metric, over all items.
        known: of `metric` over the items that both know; None where there are no others.
    """

    moment: float
    n_users: int
    n_events: int
    metric: str
    gaps: dict[str, Gap]
    known: Gap | None

    @property
    def gap(self) -> Gap:
        """What decides."""
        return self.gaps[self.metric]


class _Among(Recommender):
    """A recommender that may only show some items."""

    def __init__(self, asked: Recommender, shown: NDArray[np.bool_]) -> None:
        self.asked = asked
        self.shown = shown
        self._data = asked.data

    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        shown = self.shown if among is None else self.shown & among
        return self.asked.answer(queries, k, exclude_seen, shown)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.asked.similarity(items)

    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        return self.asked.because(queries, recommendations)


def newest(gathered: Gathered, share: float) -> Split:
    """Holds out the newest of the later events.

    Args:
        gathered: the release's data and the later events.
        share: of the later events, those that are held out; events of one time stay together.

    Returns:
        Without a validation part. The test part asks each person once for each of the circumstances
        that their events tell, a person's questions one after the other in the order of the first
        events that answer them.

    Raises:
        DataError: there are no later events, or none of them is a choice of something new.
    """
    data, later = gathered.data, gathered.later
    if not later.any():
        raise DataError("nothing was recorded since the release was made")
    times = data.histories.times
    moment = float(np.quantile(times[later], 1 - share, method="nearest"))
    held = later & (times >= moment)
    digest = hashlib.sha256(f"{data.fingerprint} {moment!r} {gathered.position}".encode())
    return Split(
        data.with_events(~held),
        None,
        _holdout(data, held, moment),
        f"The newest {held.sum():,} of {later.sum():,} later events, from "
        f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC on. Nothing of them is seen.",
        digest.hexdigest()[:16],
    )


def _holdout(data: Dataset, held: NDArray[np.bool_], moment: float) -> Holdout:
    chosen = data.histories.select(held)
    users = np.flatnonzero(chosen.counts > 0).astype(np.int32)
    chosen, known = chosen.take(users), data.histories.select(~held).take(users)
    new = ~np.isin(_pairs(chosen), _pairs(known))
    if not new.any():
        raise DataError("none of the newest events is a user's first of an item")
    context = None if data.context is None else data.context[np.flatnonzero(held)[new]]
    people = chosen.rows_of_events()[new]
    first, question = np.unique(_first_alike(people, context), return_inverse=True)
    drawn = _drawn(people[first])
    asked = people[first[drawn]]
    found = chosen.select(new)
    truth = Histories.from_events(
        question.astype(np.int32),
        found.items,
        found.times,
        found.values,
        found.kinds,
        len(first),
    )
    queries = Queries(
        users[asked],
        known.take(asked),
        np.full(len(asked), moment),
        data.profiles(users[asked]),
        None if context is None else context[first[drawn]],
    )
    return Holdout(queries, truth.take(drawn))


def _first_alike(people: NDArray[np.int32], context: pl.DataFrame | None) -> NDArray[np.int64]:
    """For each event the first one of the same person in the same circumstances, int64 [m]."""
    if context is None:
        _, first, person = np.unique(people, return_index=True, return_inverse=True)
        return first[person]
    told = pl.DataFrame({"person": people, "context": context.to_struct()}).with_row_index("event")
    alike = told.select(pl.col("event").first().over("person", "context")).to_series()
    return alike.to_numpy().astype(np.int64)


def _drawn(people: NDArray[np.int32]) -> NDArray[np.int64]:
    """The questions of as many people, drawn at random, as there is room for; `people` says whose
    each question is."""
    some, counts = np.unique(people, return_counts=True)
    order = np.random.default_rng(0).permutation(len(some))
    # Who begins within the limit stays, so that there is always somebody.
    begins = np.cumsum(counts[order]) - counts[order]
    return np.flatnonzero(np.isin(people, some[order[begins < _MAX_QUESTIONS]]))


def _pairs(histories: Histories) -> NDArray[np.int64]:
    return histories.rows_of_events().astype(np.int64) << 32 | histories.items


def contest(
    served: AsServed, candidate: Recommender, split: Split, metrics: Sequence[str]
) -> Contest:
    """Asks both what people chose after the moment of a split; the first metric decides."""
    h = split.test.truth
    known: Gap | None = None
    n_old = len(served.release.items)
    if n_old < len(served.items):
        old = np.arange(len(served.items)) < n_old
        truth = h.select(old[h.items])
        if truth.n_events:
            fair = replace(split, test=Holdout(split.test.queries, truth))
            known = _gaps(served, _Among(candidate, old), fair, metrics[:1])[metrics[0]]
    return Contest(
        moment=float(split.test.queries.as_of[0]),
        n_users=len(np.unique(split.test.queries.users)),
        n_events=h.n_events,
        metric=metrics[0],
        gaps=_gaps(served, candidate, split, metrics),
        known=known,
    )


def _gaps(
    served: Recommender, candidate: Recommender, split: Split, metrics: Sequence[str]
) -> dict[str, Gap]:
    before, now = (_by_person(asked, split, metrics) for asked in (served, candidate))
    found = (before.mean(0), now.mean(0), (now - before).mean(0), *bootstrap_interval(now - before))
    return {
        metric: Gap(*numbers)
        for metric, numbers in zip(metrics, np.stack(found, 1).tolist(), strict=True)
    }


def _by_person(asked: Recommender, split: Split, metrics: Sequence[str]) -> NDArray[np.float64]:
    """The metrics of each person, float64 [people, metrics]."""
    values = evaluate(asked, split, metrics).per_user
    people = values.group_by("user", maintain_order=True).agg(pl.col(metrics).mean())
    found: NDArray[np.float64] = people.select(metrics).to_numpy().astype(np.float64)
    return found
