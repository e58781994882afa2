"""Is a neural model better than a linear one? Differences user by user, with intervals."""

from typing import Any

import numpy as np

from benchmarks import data, evaluator, runner, splits, tasks
from benchmarks.contenders import ALL
from tastemap.metrics import bootstrap_interval

MODELS = ("mult-dae", "mult-vae", "rec-vae")
BASELINES = ("slim", "ease", "ials-pp")


def neural(dataset: str, seeds: int) -> dict[str, Any]:
    """By how much each autoencoder differs from each baseline, on the splits of the lists above.

    Values of a user are averaged over the seeds; the intervals are of 95 %, over users.
    """
    hashes, sums = {}, dict.fromkeys((*MODELS, *BASELINES), 0.0)
    for seed in range(seeds):
        split = splits.top_n(data.load(dataset), seed)
        hashes[seed] = split.hash
        with tasks.lists(split) as task:
            for name in sums:
                outcome = runner.run(ALL[f"tastemap-{name}"], task.folder, seed, dataset)
                found = evaluator.values_of_users(outcome.answer, split.train, split.test)
                sums[name] = sums[name] + np.column_stack(list(found.values()))
                print(f"{name}, seed {seed}: done", flush=True)
    return {
        "splits": hashes,
        "metrics": list(evaluator.METRICS),
        "differences": [
            _difference(ours, baseline, (sums[ours] - sums[baseline]) / seeds)
            for ours in MODELS
            for baseline in BASELINES
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
