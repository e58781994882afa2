"""How good: everybody on the same splits, with several seeds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks import data, differences, runner, splits, tasks
from benchmarks.contenders import Contender
from benchmarks.ranking_rows import LABEL, Rows
from benchmarks.tasks import Task


def top_n(dataset: str, contenders: Sequence[Contender], seeds: Sequence[int]) -> dict[str, Any]:
    """A new split for each seed, which is also the models' seed."""
    ratings = data.load(dataset)
    drawn = ((seed, tasks.lists(splits.top_n(ratings, seed))) for seed in seeds)
    return _compare(dataset, contenders, drawn, len(seeds))


def sequences(
    dataset: str, contenders: Sequence[Contender], seeds: Sequence[int]
) -> dict[str, Any]:
    """One split, which is fixed by convention; the seeds are the models'."""
    split = splits.leave_one_out(data.load(dataset))
    drawn = ((seed, tasks.sequences(split)) for seed in seeds)
    return _compare(dataset, contenders, drawn, len(seeds))


def ratings(dataset: str, contenders: Sequence[Contender], seeds: Sequence[int]) -> dict[str, Any]:
    """One split, which is fixed by convention; the seeds are the models'."""
    split = splits.rating_tenth(data.load(dataset))
    drawn = ((seed, tasks.ratings(split)) for seed in seeds)
    return _compare(dataset, contenders, drawn, len(seeds))


def clicks(
    dataset: str,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    *,
    rows_of: Callable[[str, str], Rows],
    split: str,
) -> dict[str, Any]:
    """One split, which is given by the times; the seeds are the models'. With by how much the AUC
    of ours differs from that of each rival.

    Args:
        rows_of: what is known of each row (`labelled_rows`, `rows_with_history`).
    """
    rows = rows_of(dataset, split)
    answers: dict[str, list[np.ndarray]] = {contender.name: [] for contender in contenders}
    drawn = ((seed, tasks.clicks(rows)) for seed in seeds)
    found = _compare(dataset, contenders, drawn, len(seeds), answers)
    gaps = differences.of_clicks(answers, rows.test[LABEL].to_numpy())
    return {**found, "differences": gaps}


def _compare(
    dataset: str,
    contenders: Sequence[Contender],
    drawn: Iterable[tuple[int, AbstractContextManager[Task]]],
    n: int,
    answers: dict[str, list[np.ndarray]] | None = None,
) -> dict[str, Any]:
    """What each contender gave in each task; `answers` takes the answers themselves."""
    hashes: dict[int, str] = {}
    entries = {c.name: {**describe(c, dataset), "runs": []} for c in contenders}
    for seed, task, contender in track(_pairs(drawn, contenders), "", n * len(contenders)):
        hashes[seed] = task.split_hash
        outcome = runner.run(contender, task.folder, seed, dataset)
        entry = entries[contender.name]
        entry["versions"] = outcome.versions
        if answers is not None:
            answers[contender.name].append(outcome.answer)
        judged = task.judge(outcome.answer)
        run: dict[str, Any] = {"seed": seed, **judged, "seconds": outcome.seconds}
        if outcome.trained_rows:
            run["rows_per_second"] = round(outcome.trained_rows / outcome.seconds["fit"])
        entry["runs"].append({**run, "peak_mb": round(outcome.peak_mb)})
        shown = [f"{name} {value:.4f}" for name, value in judged.items()]
        shown += [f"{name} {value:.2f} s" for name, value in outcome.seconds.items()]
        print(f"{contender.name}, seed {seed}: {', '.join(shown)}", flush=True)
    return {"splits": hashes, "contenders": entries}


def _pairs(
    drawn: Iterable[tuple[int, AbstractContextManager[Task]]], contenders: Sequence[Contender]
) -> Iterator[tuple[int, Task, Contender]]:
    for seed, opened in drawn:
        with opened as task:
            for contender in contenders:
                yield seed, task, contender


def describe(contender: Contender, dataset: str) -> dict[str, Any]:
    """What a result says of a contender."""
    return {
        "title": contender.title,
        "ours": contender.ours,
        "parameters": contender.settings(dataset),
    }
