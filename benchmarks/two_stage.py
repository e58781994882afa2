"""What a ranker adds: two stages against the best retriever alone, on a split by time.

    python -m benchmarks.two_stage --dataset movielens-1m
    python -m benchmarks.two_stage --dataset movielens-100k --part validation --out /tmp/trial

Asked about are users with a history. The last tenth of the events is the test, the one before the
validation part, which choices are made by. Models are fitted on all that came before the part that
judges them.
"""

import time
from typing import Annotated, Any, Literal

import numpy as np
import typer

import tastemap as tm
from benchmarks import results
from benchmarks.options import DatasetName, Out, Seeds
from tastemap.data.queries import Holdout
from tastemap.data.splits import GlobalTime
from tastemap.pipeline.long_tail import LongTail
from tastemap.pipeline.ranking_stage import RankingStage
from tastemap.ranking.table import ranker_class
from tastemap.retrieval.base import Retriever

SUITE = "two-stage"
METRICS = ("ndcg@10", "recall@20", "coverage@10")
RETRIEVERS = ("EASE", "ItemKNN", "ALS")
RANKERS = ("lightgbm", "dcnv2")
# The order as learned, and that which gives up some NDCG to cover more of the catalogue.
TAILS = {"none": LongTail(share=0), "default": LongTail()}
_RUN = tm.Run(device="cpu", progress=False)


def with_a_history(holdout: Holdout) -> Holdout:
    """The queries of users about whom something is known."""
    rows = np.flatnonzero(holdout.queries.histories.counts)
    return Holdout(holdout.queries.take(rows), holdout.truth.take(rows))


def retrievers() -> list[Retriever]:
    """Unfitted, with their defaults."""
    return [getattr(tm, name)() for name in RETRIEVERS]


def measure(
    dataset: str, part: Literal["validation", "test"], rankers: list[str], seeds: int
) -> dict[str, Any]:
    """Each retriever alone, all of them joined by their ranks, and each ranker over them."""
    split = GlobalTime(test=0.1, validation=0.1).split(tm.datasets.load(dataset))
    if part == "test":
        split = GlobalTime(test=0.1, validation=0.0).split(tm.datasets.load(dataset))
    holdout = split.test if part == "test" else split.validation
    assert holdout is not None
    asked = with_a_history(holdout)
    fitted = [retriever.fit(split.train, run=_RUN) for retriever in retrievers()]
    alone = {each.name: tm.evaluate(each, asked, METRICS) for each in fitted}
    best = max(alone, key=lambda name: alone[name].metrics["ndcg@10"])
    joined = tm.evaluate(tm.Pipeline(fitted), asked, METRICS)
    print({name: report.metrics for name, report in alone.items()}, joined.metrics, flush=True)
    ranked: dict[str, list[dict[str, Any]]] = {name: [] for name in rankers}
    for name in rankers:
        for seed in range(seeds):
            began = time.perf_counter()
            pipeline = tm.Pipeline(retrievers(), ranker=ranker_class(name)(seed=seed))
            pipeline.fit(split.train, run=_RUN)
            run = {"seed": seed, "fit_seconds": time.perf_counter() - began}
            for tail, long_tail in TAILS.items():
                report = tm.evaluate(_with_tail(pipeline, long_tail), asked, METRICS)
                differences = tm.compare([alone[best], report]).differences(best)
                found = {**run, "long_tail": tail, **report.metrics}
                ranked[name].append({**found, "differences": differences.to_dicts()})
                print(name, found, differences, flush=True)
    return {
        "split": split.fingerprint,
        "part": part,
        "queries": len(asked),
        "alone": {name: report.metrics for name, report in alone.items()},
        "best": best,
        "joined": joined.metrics,
        "ranked": ranked,
        "command": f"python -m benchmarks.two_stage --dataset {dataset} --seeds {seeds} "
        f"--ranker {' --ranker '.join(rankers)}",
    }


def _with_tail(pipeline: tm.Pipeline, long_tail: LongTail) -> tm.Pipeline:
    """The same pipeline, with other places for what few take."""
    stage = pipeline.stage
    assert stage is not None
    other = RankingStage(stage.ranker, stage.features, stage.seen, long_tail)
    return tm.Pipeline.with_stage(
        pipeline.retrievers, other, candidates=pipeline.candidates, rows=pipeline.rows
    )


def main(
    dataset: DatasetName = "movielens-1m",
    part: Annotated[str, typer.Option(help="validation, to choose by, or test.")] = "test",
    ranker: Annotated[list[str], typer.Option(help="Which rankers.")] = list(RANKERS),  # noqa: B006
    seeds: Seeds = 1,
    out: Out = results.FOLDER,
) -> None:
    """Measures what a ranker adds to retrievers."""
    if part not in ("validation", "test"):
        raise typer.BadParameter("must be validation or test", param_hint="--part")
    found = measure(dataset, "test" if part == "test" else "validation", ranker, seeds)
    typer.echo(f"wrote {results.write(SUITE, dataset, found, out)}")


if __name__ == "__main__":
    typer.run(main)
