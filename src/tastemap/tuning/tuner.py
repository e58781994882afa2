"""`tune`: a search, then the best settings measured again, then the curve over the depth."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tastemap.data.dataset import Dataset
from tastemap.data.splits import GlobalTime, Split
from tastemap.errors import ParameterError
from tastemap.metrics import Metric
from tastemap.retrieval.base import Retriever
from tastemap.training.run import Run
from tastemap.tuning.after import After, depth_field
from tastemap.tuning.importance import importance_of
from tastemap.tuning.journal import Journal, Trial, locked
from tastemap.tuning.measuring import Bench, Measured
from tastemap.tuning.progress import Board
from tastemap.tuning.search import Search, interruptible
from tastemap.tuning.space import space_of
from tastemap.tuning.study import Check, Study, best_of, choose
from tastemap.tuning.workers import Workers

__all__ = ["tune"]

# The share of the time budget that goes to trials, where something is to be measured after them.
_TRIALS_SHARE = 2 / 3


def tune(
    model: type[Retriever],
    data: Split | Dataset,
    *,
    trials: int = 30,
    time_budget: float | None = None,
    metric: str | Metric = "ndcg@10",
    space: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    depths: Sequence[int] | None = None,
    seeds: int = 1,
    jobs: int = 1,
    seed: int = 0,
    folder: str | Path | None = None,
    anew: bool = False,
    name: str | None = None,
    run: Run | None = None,
) -> Study:
    """Searches for good hyper-parameters by what they give on the validation part of a split.

    The first trial is the class's defaults, the others are proposed by TPE. A trial of a model that
    trains in epochs stops early, and is pruned where after an epoch it is worse than the median of
    the trials before. Then the best trial's settings (with the number of epochs that was best) and
    the class's defaults are measured again, by fits that do not see the validation part, and the
    better ones are the result. The test part of a split is never looked at.

    Ctrl-C ends the search with what was found so far. The same call goes on where a folder's search
    was ended in whatever way.

    Args:
        model: the class, such as `tastemap.ALS`.
        data: a split with a validation part; a data set is split by `GlobalTime()`.
        trials: how many settings to try, those of earlier calls on the same folder included.
        time_budget: seconds for everything. Models that train in epochs end with the epoch, others
            finish the fit that has begun.
        metric: what to go by, such as "ndcg@10" or "rmse".
        space: replaces or adds what is searched: by name a tuple (low, high), a list of values, or
            a text as on the command line. The rest is derived from what the model declares.
        fixed: hyper-parameters by name that are not searched.
        depths: lengths of the model's vectors for the curve, with all else as in the best settings;
            None for powers of two around the best, empty for no curve.
        seeds: how often the best settings are measured again, with different seeds.
        jobs: trials at a time, each in a process with its share of the cores. With one, the search
            is the same for the same seed.
        seed: of the proposals.
        folder: where trials are kept (Optuna's journal file); None for memory only.
        anew: forget what the folder holds.
        name: what the recipe and the report call the data.
        run: the device and the progress bar; a time budget for each fit; a folder with a run folder
            for each fit; a tracker.

    Raises:
        MissingExtraError: Optuna is not installed (the extra `tastemap[tune]`).
        ParameterError: an unknown name, a value out of its range, a split without validation, a
            folder with another search, or not one trial that could be trained.
        KeyboardInterrupt: Ctrl-C before the end of the first trial.
    """
    started = time.monotonic()
    asked, run = Metric.parse(metric), Run.of(run)
    fixed = dict(fixed or {})
    _check(asked, trials=trials, seeds=seeds, jobs=jobs, time_budget=time_budget)
    defaults = model(**fixed).hyperparameter_values()
    searched = space_of(model, space, fixed)
    of_depth = depth_field(model)
    if depths and of_depth is None:
        raise ParameterError(f"{model.__name__} has no vectors whose length could be varied")
    for depth in depths or ():
        model(**{**fixed, str(of_depth): depth})
    if not isinstance(data, Split):
        data = GlobalTime().split(data)
    if data.validation is None:
        raise ParameterError(
            "the split has no validation part, and the test part must not be searched on: ask the "
            "splitter for one, as in RandomPerUser(validation=0.1)"
        )
    bench = Bench(model, data.train, data.validation, asked, run)
    about = {
        "model": model.name,
        "metric": str(asked),
        "split": data.fingerprint,
        "space": {each: str(dimension) for each, dimension in searched.items()},
        "fixed settings": fixed,
    }
    deadline = None if time_budget is None else started + time_budget
    searching_until = None if time_budget is None else started + _TRIALS_SHARE * time_budget
    checks: list[Check] = []
    curve: dict[int, Measured] = {}
    stop = threading.Event()
    place = None if folder is None else Path(folder)
    with locked(place), Board(run.progress, asked) as board, Workers(bench, jobs) as workers:
        journal = Journal(place, about, asked.info.better != "lower", anew)
        search = Search(journal, workers, board, searched, fixed, defaults, asked, seed, stop)
        with suppress(KeyboardInterrupt), interruptible(stop, workers):
            # Without anything to search over there is one trial to make.
            search.run(trials if searched else 1, jobs, searching_until)
            found = journal.trials()
            if any(trial.measured for trial in found):
                after = After(model, fixed, defaults, search, deadline, jobs, seeds)
                checks = after.checks(best_of(found, search.higher_is_better))
                chosen = choose(checks, searched, search.higher_is_better)
                if chosen is not None and of_depth is not None:
                    curve = after.curve(of_depth, depths, chosen)
                    checks += after.better_depth(of_depth, curve, chosen)
        found = journal.trials()
        _check_found(model, found, stop.is_set())
        return Study(
            model=model,
            metric=asked,
            data=name or str(data.train),
            split=data.description,
            fingerprint=data.fingerprint,
            space=searched,
            fixed=fixed,
            trials=found,
            checks=checks,
            depth_field=of_depth,
            depths=curve,
            importance=importance_of(journal.search),
            seconds=time.monotonic() - started,
            interrupted=stop.is_set(),
        )


def _check(metric: Metric, **numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not number > 0:
            raise ParameterError(f"tune: {name} must be above 0, got {number!r}")
    if metric.info.better is None:
        raise ParameterError(f"tune: neither more nor less of {metric} is better; choose another")


def _check_found(model: type[Retriever], trials: list[Trial], interrupted: bool) -> None:
    if any(trial.measured for trial in trials):
        return
    if interrupted:
        raise KeyboardInterrupt
    problems = [trial.problem for trial in trials if trial.problem]
    why = f"; the first: {problems[0]}" if problems else "; give it more time"
    raise ParameterError(f"not one of {len(trials)} trials of {model.__name__} gave a model{why}")
