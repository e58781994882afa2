"""Trials, one after another or several at a time, proposed by TPE and pruned by the median.

Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (NeurIPS), in Optuna's
multivariate form.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemap.errors import TastemapError
from tastemap.metrics import Metric
from tastemap.tuning.journal import Journal
from tastemap.tuning.measuring import Measured, Task
from tastemap.tuning.progress import Board
from tastemap.tuning.space import Dimension
from tastemap.tuning.workers import Stopped, Workers

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "interruptible"]


@dataclass
class Search:
    """Runs trials and keeps them in the journal.

    Attributes:
        journal, workers, board: where trials are kept, measured and shown.
        space: what is searched over.
        fixed: hyper-parameters that every trial has.
        defaults: of the model, the first trial.
        metric: what is gone by.
        seed: of the proposals.
        stop: set from outside to end at once.
    """

    journal: Journal
    workers: Workers
    board: Board
    space: Mapping[str, Dimension]
    fixed: Mapping[str, Any]
    defaults: Mapping[str, Any]
    metric: Metric
    seed: int
    stop: threading.Event
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def higher_is_better(self) -> bool:
        return self.metric.info.better != "lower"

    def run(self, trials: int, jobs: int, deadline: float | None) -> None:
        """Goes on until there are so many trials, or `time.monotonic()` reaches the deadline."""
        import optuna

        study = self.journal.search
        # Another stream after each interruption: the first one's draws are all there already.
        seed = np.random.SeedSequence([self.seed, len(study.trials)]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(
            seed=int(seed), multivariate=True, constant_liar=jobs > 1
        )
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)
        if not study.trials:
            known = {n: self.defaults[n] for n in self.space if self.defaults[n] in self.space[n]}
            study.enqueue_trial(known)
        done = sum(trial.state != "interrupted" for trial in self.journal.trials())
        self.board.begin("trials", trials, done)
        left = iter(range(done, trials))
        if jobs == 1:
            self._loop(left, deadline)
            return
        with ThreadPoolExecutor(jobs) as threads:
            for each in [threads.submit(self._loop, left, deadline) for _ in range(jobs)]:
                each.result()

    def _loop(self, left: Iterator[int], deadline: float | None) -> None:
        while not self.stop.is_set():
            seconds = None if deadline is None else deadline - time.monotonic()
            if seconds is not None and seconds <= 0:
                return
            with self._lock:
                if next(left, None) is None:
                    return
                trial = self.journal.search.ask()
                settings = {name: each.suggest(trial, name) for name, each in self.space.items()}
                trial.set_user_attr("settings", settings)
            try:
                self._measure(trial, settings, seconds)
            except BaseException:
                self._tell(trial, "FAIL")
                raise
            with self._lock:
                self.board.trial(self.journal.trials(), trial.number)

    def _measure(
        self, trial: optuna.Trial, settings: Mapping[str, Any], seconds: float | None
    ) -> None:
        known = [t for t in self.journal.trials() if t.measured and t.settings == settings]
        asked = Task(
            {**self.fixed, **settings},
            stop_early=True,
            name=f"trial-{trial.number:04}",
            time_budget=seconds,
        )
        pruned = threading.Event()
        try:
            # The same settings and seed give the same again.
            measured = known[0].measured if known else None
            if measured is None:
                measured = self.workers.measure(asked, self._watch(trial, pruned))
            problem = "" if math.isfinite(measured.validation) else f"{self.metric} is not finite"
        except Stopped:
            self._tell(trial, "PRUNED" if pruned.is_set() else "FAIL")
            return
        except TastemapError as error:
            measured, problem = None, str(error)
        if self.stop.is_set():
            # A fit that is interrupted ends with its best epoch so far.
            self._tell(trial, "FAIL")
        elif measured is None or problem:
            trial.set_user_attr("problem", problem)
            # For Optuna like one that was pruned, so that TPE keeps away from there.
            self._tell(trial, "PRUNED")
        else:
            trial.set_user_attr("measured", asdict(measured))
            with self._lock:
                self.journal.search.tell(trial, measured.validation)

    def _tell(self, trial: optuna.Trial, state: str) -> None:
        from optuna.trial import TrialState

        with self._lock:
            self.journal.search.tell(trial, state=TrialState[state], skip_if_finished=True)

    def _watch(
        self, trial: optuna.Trial, pruned: threading.Event
    ) -> Callable[[Mapping[str, float]], None]:
        """Reports each epoch to Optuna and ends the trial where it promises little."""
        epochs = 0

        def on_epoch(measured: Mapping[str, float]) -> None:
            nonlocal epochs
            if self.stop.is_set():
                raise Stopped
            value = _gone_by(measured, self.metric)
            if value is None:
                return
            # Counted here, since a model may train in several phases of epochs.
            epochs += 1
            with self._lock:
                trial.report(value, epochs)
                ends = trial.should_prune()
            if ends:
                pruned.set()
                raise Stopped

        return on_epoch

    def check(
        self, what: str, settings: Mapping[str, Any], on_train: bool, deadline: float | None
    ) -> Measured | None:
        """Measures settings without early stopping, if that was not done before.

        Returns None where the fit fails, or is not at its end when `time.monotonic()` reaches the
        deadline.
        """

        def on_epoch(_: Mapping[str, float]) -> None:
            if self.stop.is_set() or (deadline is not None and time.monotonic() >= deadline):
                raise Stopped

        measured = self.journal.check(settings, on_train)
        if measured is None:
            try:
                task = Task(settings, on_train=on_train, name=what.replace(" ", "-"))
                measured = self.workers.measure(task, on_epoch)
            except Stopped:
                return None
            except TastemapError as error:
                self.board.note(f"{what} could not be measured: {error}")
                return None
            if self.stop.is_set():
                return None
            with self._lock:
                self.journal.add_check(settings, measured)
        self.board.check(what, measured.validation)
        return measured


def _gone_by(measured: Mapping[str, float], metric: Metric) -> float | None:
    """What of an epoch's metrics tells whether it goes well: the metric itself, or, for another
    one of lists, the NDCG@10 that models stop early by."""
    higher = metric.info.better != "lower"
    return measured.get(str(metric), measured.get("ndcg@10") if higher else None)


@contextmanager
def interruptible(stop: threading.Event, workers: Workers) -> Iterator[None]:
    """While it lasts Ctrl-C sets `stop`, ends the workers, and raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(*_: object) -> None:
        stop.set()
        workers.close()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
