"""Retraining while others serve: looks at the log, fits, compares, and publishes or does not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tastemap.data.dataset import Dataset
from tastemap.errors import DataError, ParameterError, TastemapError
from tastemap.metrics import Metric
from tastemap.online.event_log import EventReader
from tastemap.online.events import Position
from tastemap.online.log_file import StateError
from tastemap.online.retraining.as_served import AsServed
from tastemap.online.retraining.contest import Contest, contest, newest
from tastemap.online.retraining.decisions import Decision, Decisions, Outcome
from tastemap.online.retraining.drift import shifts
from tastemap.online.retraining.gathering import Gathered, forgotten_rows, gather, offset_of
from tastemap.online.retraining.quality import next_hit_rate
from tastemap.online.retraining.shown import shown_to
from tastemap.online.retraining.triggers import Since, Triggers
from tastemap.online.tokens import Tokens
from tastemap.pipeline.pipeline import Pipeline
from tastemap.release import ReleaseStore, load_release
from tastemap.storage import read_manifest
from tastemap.training.run import Run

__all__ = ["Judging", "Trainer"]

log = logging.getLogger("tastemap.trainer")


@dataclass(frozen=True)
class Judging:
    """How a candidate is judged.

    Args:
        holdout: share of the events since the release, the newest, that both are judged by.
        metrics: what is measured by the lists of each person; the first one decides.
        margin: the candidate may be worse by so large a share of what the serving release has,
            where the interval of the difference holds 0. Small, as one can lose it again and again.
        least_users: fewer people than so many say nothing, and the serving release stays.

    Raises:
        ParameterError: a value out of its range.
    """

    holdout: float = 0.3
    metrics: Sequence[str] = ("ndcg@10", "recall@20", "hit_rate@10")
    margin: float = 0.01
    least_users: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ParameterError(f"Judging: holdout must be between 0 and 1, got {self.holdout!r}")
        if not self.metrics:
            raise ParameterError("Judging: metrics is empty, so nothing can decide")
        for metric in Metric.parse_all(self.metrics):
            if metric.info.kind != "hits":
                raise ParameterError(
                    f"Judging: {metric} cannot decide, as it does not say how right each person's "
                    "list is; take ndcg, recall, hit_rate, map or mrr"
                )
        if not 0 <= self.margin < 1:
            raise ParameterError(f"Judging: margin must be from 0 to below 1, got {self.margin!r}")
        if self.least_users < 1:
            raise ParameterError(f"Judging: least_users must be at least 1: {self.least_users!r}")


@dataclass(frozen=True)
class _Serving:
    """The release that is served, and the offset of the last event that it has learned from."""

    version: str
    pipeline: Pipeline
    offset: int
    hit_rate: float | None


class _Kept(TastemapError):
    """The serving release stays; the message says why."""


class Trainer:
    """Retrains the pipeline of a release store from its own data and the events since.

    Nothing that the service needs is touched but by `ReleaseStore.publish`, whose last step is one
    rename, so that a trainer may be killed at any moment.

    Args:
        store: whose serving release is followed.
        events: the log of the service.
        decisions: where every decision is kept.
        triggers: when to retrain.
        judging: how a candidate is judged.
        run: where and how models are fitted.
        min_value: events of a lower value are left out.
        tokens: of the service; they say at which places things were shown. None where that
            is not to be known.
    """

    def __init__(
        self,
        store: Path,
        events: EventReader,
        decisions: Decisions,
        *,
        triggers: Triggers | None = None,
        judging: Judging | None = None,
        run: Run | None = None,
        min_value: float | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.store = ReleaseStore(store)
        self.events = events
        self.decisions = decisions
        self.triggers = Triggers() if triggers is None else triggers
        self.judging = Judging() if judging is None else judging
        self.run = Run() if run is None else run
        self.min_value = min_value
        self.tokens = tokens
        self._looked = 0  # the offset at which distributions were last compared

    def follow(self, seconds: float, stop: threading.Event) -> None:
        """Looks every few seconds whether to retrain, until `stop` is set.

        What goes wrong is logged, and the next look is another attempt.
        """
        while not stop.is_set():
            try:
                self.look()
            except (TastemapError, OSError) as error:
                log.error("%s", error)
            except Exception:
                log.exception("looking whether to retrain failed")
            stop.wait(seconds)

    def look(self) -> Decision | None:
        """Retrains where there is reason to; None where there is none.

        Raises:
            ReleaseError: the store serves nothing that can be loaded.
            StateError: log or record cannot be used.
        """
        reason = self.reason()
        return None if reason is None else self.retrain(reason)

    def reason(self) -> str | None:
        """Why to retrain now, or None.

        Raises:
            ReleaseError: the store serves nothing that can be loaded.
            StateError: log or record cannot be used.
        """
        release, begun = self.store.current(), self.decisions.last_begun()
        offset, moment = offset_of(release.path), release.created.timestamp()
        if begun is not None:
            # The same events must not set off the same retraining again after it lost.
            offset, moment = max(offset, begun.offset), max(moment, begun.moment)
        last = self._last_offset(offset_of(release.path))
        since = Since(time.time() - moment, last - offset)
        if (due := self.triggers.due(since)) is not None:
            return due
        if last - max(offset, self._looked) < self.triggers.least_events:
            return None
        self._looked = last
        return self._changed()

    def _last_offset(self, learned: int) -> int:
        last = self.events.last_offset
        if last < learned:
            raise StateError(
                f"the event log {self.events.path} ends with event {last:,}, and the release that "
                f"is served has learned from its event {learned:,}. It is of another service: name "
                "its state folder with --state"
            )
        return last

    def _changed(self) -> str | None:
        if self.triggers.drift is None and self.triggers.quality is None:
            return None
        serving, gathered = self._gathered()
        if gathered.n_later < self.triggers.least_events:
            return None
        served = AsServed(serving.pipeline, gathered)
        if self.triggers.drift is not None:
            for shift in shifts(served, gathered):
                if shift.beyond(self.triggers.drift):
                    return f"{shift.of} drifted: stability index {shift.index:.3f}"
        if self.triggers.quality is None or serving.hit_rate is None:
            return None
        try:
            now = next_hit_rate(served, newest(gathered, self.judging.holdout))
        except DataError:
            return None
        if now.n_users >= self.judging.least_users and now.fell(
            serving.hit_rate, self.triggers.quality
        ):
            return f"hit rate fell from {serving.hit_rate:.3f} to {now.value:.3f}"
        return None

    def retrain(self, reason: str) -> Decision:
        """Fits a candidate, compares it, and publishes it where it does not lose.

        Args:
            reason: for the record.

        Returns:
            What became of it; `failed` where models, data or the disk refused.

        Raises:
            ReleaseError: the store serves nothing that can be loaded.
            StateError: log or record cannot be used.
        """
        began = time.perf_counter()
        serving, gathered = self._gathered()
        about: dict[str, Any] = {
            "serving": serving.version,
            "offset": gathered.position.offset,
            "left_out": gathered.left_out,
        }
        # Written before the work, so that a trainer that dies of it does not begin again at once.
        self._record(Decision(Outcome.began, reason, **about))
        try:
            judged = self._judged(serving, gathered, about)
            release = self._publish(serving, gathered, reason, judged)
            outcome, why, about["release"] = Outcome.published, _found(judged), release
        except _Kept as kept:
            outcome, why = Outcome.kept, str(kept)
        except StateError:
            raise
        except Exception as error:
            outcome, why = Outcome.failed, f"{type(error).__name__}: {error}"
            if not isinstance(error, TastemapError):
                log.exception("the retraining failed")
        about["seconds"] = round(time.perf_counter() - began, 3)
        return self._record(Decision(outcome, why, **about))

    def _gathered(self) -> tuple[_Serving, Gathered]:
        serving = self._serving()
        self._last_offset(serving.offset)
        gathered = gather(
            serving.pipeline.data,
            self.events,
            serving.offset,
            min_value=self.min_value,
        )
        return serving, gathered

    def _serving(self) -> _Serving:
        loaded = load_release(self.store.path)
        contents = read_manifest(loaded.path).contents
        rate = contents.get("retraining", {}).get("next_hit_rate")
        return _Serving(loaded.version, loaded.pipeline(), offset_of(loaded.path), rate)

    def _judged(self, serving: _Serving, gathered: Gathered, about: dict[str, Any]) -> _Judged:
        try:
            split = newest(gathered, self.judging.holdout)
        except DataError as error:
            raise _Kept(str(error)) from None
        if (n_people := len(np.unique(split.test.queries.users))) < self.judging.least_users:
            raise _Kept(
                f"{n_people} people took something new among the newest events, and "
                f"{self.judging.least_users} are needed to judge by"
            )
        log.info("fitting a candidate on %s events", f"{split.train.n_events:,}")
        candidate = self._fitted(serving, split.train)
        served = AsServed(serving.pipeline, gathered)
        metrics = [str(metric) for metric in Metric.parse_all(self.judging.metrics)]
        found = contest(served, candidate, split, metrics)
        about["contest"] = asdict(found)
        # As it will be asked live: with histories and counts that hold what came meanwhile.
        held = gathered.later & (gathered.data.histories.times >= found.moment)
        asked = AsServed(candidate, replace(gathered, later=held))
        judged = _Judged(found, next_hit_rate(asked, split).value, split.description)
        if found.gap.loses(self.judging.margin):
            raise _Kept(f"the new one lost: {_found(judged)}")
        return judged

    def _fitted(self, serving: _Serving, data: Dataset) -> Pipeline:
        """The same models, fitted anew; a ranker learns from what was shown, too."""
        pipeline = serving.pipeline.unfitted()
        shown = None
        if pipeline.ranker is not None and data.has_times:
            shown = shown_to(data, self.events, self.tokens)
        return pipeline.fit(data, impressions=shown, run=self.run)

    def _publish(self, serving: _Serving, gathered: Gathered, reason: str, judged: _Judged) -> str:
        log.info("%s; fitting on all %s events", _found(judged), f"{gathered.data.n_events:,}")
        pipeline = self._fitted(serving, gathered.data)
        release = self.store.publish(
            _WithoutForgotten(pipeline, self.events, gathered.position),
            metrics={name: gap.candidate for name, gap in judged.contest.gaps.items()},
            notes=f"retrained: {reason}",
            about={
                "event_log_offset": gathered.position.offset,
                "retraining": {
                    "reason": reason,
                    "against": serving.version,
                    "split": judged.split,
                    "next_hit_rate": judged.next_hit_rate,
                    "contest": asdict(judged.contest),
                },
            },
            replacing=serving.version,
        )
        return release.version

    def _record(self, decision: Decision) -> Decision:
        self.decisions.add(decision)
        log.info("%s: %s", decision.outcome, decision.reason)
        return decision


@dataclass(frozen=True)
class _WithoutForgotten:
    """A pipeline that is saved without those who were forgotten while it was fitted.

    The store holds its lock while it saves. So a removal either has told the log before, and is
    seen here, or goes over the releases after, and finds this one.
    """

    pipeline: Pipeline
    events: EventReader
    since: Position

    def save(self, path: Path) -> object:
        for news in self.events.news(self.since):
            self.pipeline.forget(forgotten_rows(self.pipeline.data, news.forgotten, self.events))
        return self.pipeline.save(path)


@dataclass(frozen=True)
class _Judged:
    """What a candidate was found to be."""

    contest: Contest
    next_hit_rate: float
    split: str


def _found(judged: _Judged) -> str:
    gap = judged.contest.gap
    return (
        f"{judged.contest.metric} {gap.candidate:.4f} against {gap.served:.4f} of the serving "
        f"release, difference {gap.difference:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}), "
        f"{judged.contest.n_users:,} people"
    )
