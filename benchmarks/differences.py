"""Is one model better than another? Differences user by user, with intervals."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks import data, evaluator, runner, splits, tasks
from benchmarks.contenders import ALL
from benchmarks.tasks import Task
from tastemap.metrics import bootstrap_interval

AUTOENCODERS = ("mult-dae", "mult-vae", "rec-vae")
LINEAR = ("slim", "ease", "ials-pp")


def neural(dataset: str, seeds: int) -> dict[str, Any]:
    """Autoencoders against linear models, on the splits of the lists above."""
    drawn = [splits.top_n(data.load(dataset), seed) for seed in range(seeds)]
    asked = ((tasks.lists(split), split.train, split.test) for split in drawn)
    return _differences(dataset, AUTOENCODERS, LINEAR, asked, evaluator.METRICS)


def bodies(dataset: str, seeds: int) -> dict[str, Any]:
    """SASRec's body of today against the published one, after as many passes and after as many as
    that one goes on learning for, on what is chosen next."""
    split = splits.leave_one_out(data.load(dataset))
    asked = ((tasks.sequences(split), split.history, split.last) for _ in range(seeds))
    plain = "sasrec-plain", "sasrec-plain-longer"
    return _differences(dataset, ("sasrec",), plain, asked, evaluator.METRICS_OF_NEXT)


def _differences(
    dataset: str,
    models: tuple[str, ...],
    baselines: tuple[str, ...],
    asked: Iterable[tuple[AbstractContextManager[Task], sparse.csr_matrix, sparse.csr_matrix]],
    measures: evaluator.Measures,
) -> dict[str, Any]:
    """By how much each model differs from each baseline; `asked` has a task for each seed, what is
    known and what is asked for.

    Values of a user are averaged over the seeds; the intervals are of 95 %, over users.
    """
    hashes, found = {}, {name: [] for name in (*models, *baselines)}
    for seed, (opened, known, truth) in enumerate(asked):
        with opened as task:
            hashes[seed] = task.split_hash
            for name, values in found.items():
                answer = runner.run(ALL[f"tastemap-{name}"], task.folder, seed, dataset).answer
                of_users = evaluator.values_of_users(answer, known, truth, measures)
                values.append(np.column_stack(list(of_users.values())))
                print(f"{name}, seed {seed}: {np.nanmean(values[-1], 0).round(4)}", flush=True)
    means = {name: np.mean(values, 0) for name, values in found.items()}
    return {
        "splits": hashes,
        "metrics": list(measures),
        "means": {name: np.nanmean(values, 0).tolist() for name, values in means.items()},
        "differences": [
            _difference(ours, baseline, means[ours] - means[baseline])
            for ours in models
            for baseline in baselines
        ],
    }


def _difference(model: str, baseline: str, values: Any) -> dict[str, Any]:
    low, high = bootstrap_interval(values)
    return {
        "model": ALL[f"tastemap-{model}"].title,
        "baseline": ALL[f"tastemap-{baseline}"].title,
        "difference": np.nanmean(values, axis=0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def of_clicks(
    answers: dict[str, list[np.ndarray]], labels: np.ndarray, resamples: int = 300
) -> list[dict[str, Any]]:
    """By how much the AUC of each of our networks differs from that of each rival, with intervals
    of 95 % over rows that are drawn with replacement; means over the seeds. Those that are not
    refitted are not compared with rivals that are.

    Args:
        answers: by contender the scores of the test rows, float [n], for each seed.
        labels: int [n].
    """
    networks = [name for name in answers if ALL[name].ours]
    rng, n = np.random.default_rng(0), len(labels)
    draws = [
        np.ones(n),
        *(np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples)),
    ]
    aucs = {
        name: np.mean([_aucs(scores, labels, draws) for scores in of_seeds], 0)
        for name, of_seeds in answers.items()
    }
    found = []
    for ours in networks:
        for rival in (name for name in answers if name not in networks):
            # Refitted ones have learned from more rows.
            if ALL[rival].parameters.get("refit") and not ALL[ours].parameters.get("refit"):
                continue
            gaps = aucs[ours] - aucs[rival]
            low, high = np.quantile(gaps[1:], [0.025, 0.975])
            about = {"model": ALL[ours].title, "baseline": ALL[rival].title}
            found.append({**about, "difference": [gaps[0]], "low": [low], "high": [high]})
    return found


def _aucs(scores: np.ndarray, labels: np.ndarray, draws: list[np.ndarray]) -> np.ndarray:
    """The AUC where each row counts as often as it was drawn, for each draw."""
    places = np.unique(scores, return_inverse=True)[1]
    liked = labels == 1
    found = []
    for counts in draws:
        of_liked = np.bincount(places, counts * liked)
        of_others = np.bincount(places, counts * ~liked)
        below = np.cumsum(of_others) - of_others / 2
        found.append(of_liked @ below / (of_liked.sum() * of_others.sum()))
    return np.array(found)
