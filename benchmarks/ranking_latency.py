"""How long it takes to order the candidates of one request: features, and the ranker's scores.

    python -m benchmarks.ranking_latency --dataset movielens-1m [--n 500]

A pipeline of an item2vec and DCN-v2 with three cross layers and attention of the candidates over a
history of 50 is trained for an epoch, without tables of users and items, which leaves 21 features
in vectors of 16 numbers. Then 500 candidates that the retriever proposes are ordered, for users who
have a history of 50 or more, one after the other, on one thread. What is true of an item whoever
asks is remembered from one request to the next, as it is in a service.
"""

import time
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import DatasetName, Out
from tastemap.data.dataset import Dataset
from tastemap.pipeline.candidates import candidates_of
from tastemap.pipeline.pipeline import Pipeline

SUITE = "ranking-latency"
CANDIDATES = 500
HISTORY = 50


def pipeline_of(dataset: Dataset) -> Pipeline:
    """With the ranker that the measurement is about."""
    ranker = tm.DCNv2(cross_layers=3, history="dot", dim=16, epochs=1)
    pipeline = tm.Pipeline(
        [tm.Item2Vec(epochs=2)],
        ranker=ranker,
        features=tm.PointInTime(length=HISTORY),
        rows=tm.OutOfTime(limit=2000),
        candidates=CANDIDATES,
    )
    return pipeline.fit(dataset, run=tm.Run(device="cpu", progress=False))


def milliseconds(pipeline: Pipeline, n: int) -> dict[str, Any]:
    """Of n requests, all told and for the features alone; a tenth more come first."""
    stage, dataset = pipeline.stage, pipeline.data
    assert stage is not None
    rng = np.random.default_rng(0)
    busy = np.flatnonzero(dataset.histories.counts >= HISTORY)
    spent: dict[str, list[float]] = {"features": [], "all": []}
    for user in rng.choice(busy, n + n // 10):
        queries = dataset.queries(np.array([user]))
        proposed = candidates_of(pipeline.retrievers, queries, CANDIDATES)
        began = time.perf_counter()
        stage.features.apart(queries, proposed)
        featured = time.perf_counter()
        stage.ranked(queries, proposed)
        ended = time.perf_counter()
        spent["features"].append(1e3 * (featured - began))
        spent["all"].append(1e3 * (ended - featured))
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        what: {name: float(np.quantile(each[n // 10 :], share)) for name, share in shares.items()}
        for what, each in spent.items()
    }


def main(
    dataset: DatasetName = "movielens-1m",
    n: Annotated[int, typer.Option(help="Requests to time.")] = 500,
    out: Out = results.FOLDER,
) -> None:
    """Times the second stage of one request."""
    import numba

    numba.set_num_threads(1)
    bare = replace(tm.datasets.load(dataset), user_table=None, item_table=None)
    pipeline = pipeline_of(bare)
    assert pipeline.stage is not None
    import torch

    torch.set_num_threads(1)
    found = {
        "milliseconds": milliseconds(pipeline, n),
        "features": len(pipeline.stage.features.schema.features),
        "candidates": CANDIDATES,
        "command": f"python -m benchmarks.ranking_latency --dataset {dataset} --n {n}",
    }
    typer.echo(found)
    typer.echo(f"wrote {results.write(SUITE, dataset, found, out)}")


if __name__ == "__main__":
    typer.run(main)
