"""Seconds of a full-catalogue evaluation of all ranking metrics on data of movielens-1m's shape.

    python benchmarks/evaluation_speed.py [--repeats 5] [--generated]

A model of 128 factors scores each of 3,706 items for each of 6,040 users, and every metric that
looks at lists or scores is computed, with bootstrap intervals and segments. A first evaluation is
not counted, since it may compile. `--generated` takes generated events, where movielens-1m cannot
be fetched. Prints the best and the median of the repeats, and the processor
time of all threads together, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import tastemap as tm
from tastemap.data.splits import RandomPerUser
from tastemap.metrics import METRICS

USERS, ITEMS, FACTORS = 6_040, 3_706, 128


def generated() -> tm.Dataset:
    """A million events of movielens-1m's shape: activity and popularity skewed, genres random."""
    rng = np.random.default_rng(0)
    activity = np.clip(rng.lognormal(4.6, 1.0, USERS), 20, ITEMS / 2).astype(int)
    # Gumbel noise on log-weights: the largest are a draw without replacement.
    weights = -np.log(np.arange(ITEMS) + 20.0)
    rows = [np.argsort(-weights - rng.gumbel(size=ITEMS))[:n] for n in activity]
    genres = rng.random((ITEMS, 18)) < 0.1
    import polars as pl

    names = [[f"genre {g}" for g in np.flatnonzero(row)] for row in genres]
    return tm.Dataset.from_frame(
        pl.DataFrame({"user": np.repeat(np.arange(USERS), activity), "item": np.concatenate(rows)}),
        items=pl.DataFrame({"item": np.arange(ITEMS), "genres": names}),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--generated", action="store_true")
    said = parser.parse_args()
    data = generated() if said.generated else tm.datasets.load("movielens-1m")
    split = RandomPerUser(test=0.2, seed=0).split(data)
    model = tm.ALS(factors=FACTORS, iterations=2).fit(split.train)
    lists = [f"{name}@{k}" for name, info in METRICS.items() if info.has_k for k in (10, 20, 100)]
    for title, metrics in (
        ("all metrics of lists and scores, k = 10, 20 and 100", [*lists, "auc"]),
        ("all metrics of lists and scores, k = 10", [*lists[::3], "auc"]),
        ("ndcg@10, recall@20, coverage@10", ["ndcg@10", "recall@20", "coverage@10"]),
    ):
        report = tm.evaluate(model, split, metrics)
        started = time.process_time()
        seconds = [tm.evaluate(model, split, metrics).seconds for _ in range(said.repeats)]
        processor = (time.process_time() - started) / said.repeats
        print(
            f"{report.n_users:,} users x {report.n_items:,} items, {title}: "
            f"best {min(seconds):.2f} s, median {statistics.median(seconds):.2f} s, "
            f"{processor:.2f} s of processor time"
        )


if __name__ == "__main__":
    main()
