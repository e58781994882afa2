"""How long the features of a request take, and how many training rows a second are made.

    python -m benchmarks.feature_speed --dataset movielens-1m

A request asks about 500 candidates of two sources for a user with a history. The training rows are
the events of the data set, each with what was known before it. All on one thread.
"""

import time
from typing import Annotated, Any

import numpy as np
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import DatasetName, Out
from tastemap.data.candidates import Candidates
from tastemap.data.dataset import Dataset
from tastemap.data.moments import Moments
from tastemap.features.point_in_time import PointInTime

SUITE = "feature-speed"
CANDIDATES = 500
_ROWS_AT_A_TIME = 1 << 18


def requests(dataset: Dataset, n: int) -> dict[str, float]:
    """Milliseconds that the features of one request take, for n users drawn at random."""
    features = PointInTime().fit(dataset, ["first", "second"])
    rng = np.random.default_rng(0)
    spent = []
    # A tenth more comes first and is not counted: it may compile.
    for user in rng.choice(np.flatnonzero(dataset.histories.counts), n + n // 10):
        items = rng.choice(np.arange(1, len(dataset.items)), CANDIDATES, replace=False)
        asked = Candidates(
            np.array([0, CANDIDATES]),
            np.sort(items).astype(np.int32),
            rng.random((CANDIDATES, 2)).astype(np.float32),
            rng.integers(1, 500, (CANDIDATES, 2)).astype(np.float32),
            features.sources,
        )
        queries = dataset.queries(np.array([user]))
        began = time.perf_counter()
        features.of(queries, asked)
        spent.append(1000 * (time.perf_counter() - began))
    kept = spent[n // 10 :]
    return {
        "p50": float(np.median(kept)),
        "p95": float(np.quantile(kept, 0.95)),
        "features": len(features.schema.features),
    }


def training_rows(dataset: Dataset) -> dict[str, float]:
    """Seconds for all events as training rows, made a part at a time as they would not fit else."""
    began = time.perf_counter()
    features = PointInTime().fit(dataset)
    fitted = time.perf_counter()
    moments = Moments.before_events(dataset, np.arange(dataset.n_events))
    for start in range(0, dataset.n_events, _ROWS_AT_A_TIME):
        some = moments.take(np.s_[start : start + _ROWS_AT_A_TIME])
        items = dataset.histories.items[start : start + _ROWS_AT_A_TIME]
        features.of(some, Candidates.without_sources(np.arange(len(items) + 1), items))
    made = time.perf_counter()
    return {
        "rows": dataset.n_events,
        "fit_seconds": fitted - began,
        "seconds": made - fitted,
        "rows_per_second": dataset.n_events / (made - fitted),
    }


def main(
    dataset: DatasetName = "movielens-1m",
    n: Annotated[int, typer.Option(help="Requests to time.")] = 1000,
    out: Out = results.FOLDER,
) -> None:
    """Times the features of requests and of training rows."""
    whole = tm.datasets.load(dataset)
    found: dict[str, Any] = {"milliseconds": requests(whole, n), "training": training_rows(whole)}
    found["command"] = f"python -m benchmarks.feature_speed --dataset {dataset} --n {n}"
    typer.echo(found)
    typer.echo(f"wrote {results.write(SUITE, dataset, found, out)}")


if __name__ == "__main__":
    typer.run(main)
