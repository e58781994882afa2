"""What `train`, `evaluate` and `quickstart` have in common: fit, judge, publish, and say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemap.cli.output import note, print_table, step

if TYPE_CHECKING:
    from tastemap.data.dataset import Dataset
    from tastemap.data.splits import Split
    from tastemap.evaluation import Report
    from tastemap.pipeline.pipeline import Pipeline
    from tastemap.release import Release
    from tastemap.retrieval.base import Retriever
    from tastemap.training.run import Run

__all__ = ["compare", "judge", "make_place", "publish", "show"]


def fit(model: Retriever, data: Dataset, run: Run, **options: Any) -> None:
    """Fits a model and shows it."""
    what = f"Training {model.name} on {data.n_events:,} events"
    # A model that trains in epochs has a bar of its own.
    with step(what, bar="epochs" not in model.hyperparameters()):
        model.fit(data, run=run, **options)


def judge(model: Retriever, split: Split, metrics: Sequence[str], run: Run) -> Report:
    """Fits a model on the training part of a split and judges it by the test part."""
    from tastemap.evaluation import evaluate

    fit(model, split.train, run, validation=split.validation)
    with step(f"Evaluating {model.name} on {len(split.test):,} users"):
        return evaluate(model, split, metrics=metrics)


def fit_second_stage(pipeline: Pipeline, run: Run, shown: Dataset | None) -> None:
    """Fits the rest of a pipeline whose retrievers are fitted, with what users were shown where
    that is known, and shows it."""
    ranker = pipeline.ranker
    if ranker is None:
        pipeline.fit_second_stage(run=run)
        return
    names = " and ".join(model.name for model in pipeline.retrievers)
    own_bars = any("epochs" in part.hyperparameters() for part in (*pipeline.retrievers, ranker))
    with step(f"Training {ranker.name} on what {names} propose out of time", bar=not own_bars):
        pipeline.fit_second_stage(impressions=shown, run=run)


def compare(
    pipeline: Pipeline,
    split: Split,
    metrics: Sequence[str],
    run: Run,
    shown: Dataset | None = None,
) -> list[Report]:
    """Judges popularity, each model of a pipeline, and the pipeline where it is more than a model.

    The last report is that of what will be served.
    """
    from tastemap.evaluation import evaluate
    from tastemap.retrieval.table import model_class

    models = pipeline.retrievers
    popularity = model_class("popularity")
    of_lists = _of_lists(metrics)
    reports = []
    if of_lists and not any(isinstance(model, popularity) for model in models):
        reports.append(judge(popularity(), split, of_lists, run))
    reports += [judge(model, split, metrics, run) for model in models]
    if of_lists and (len(models) > 1 or pipeline.ranker is not None):
        fit_second_stage(pipeline, run, shown)
        with step(f"Evaluating {pipeline.name}"):
            reports.append(evaluate(pipeline, split, metrics=of_lists))
    return reports


def make_place(out: Path) -> None:
    """Makes the directory of a release store, before hours of training are spent for it.

    Raises:
        ReleaseError: something else is there.
        OSError: it cannot be made.
    """
    from tastemap.errors import ReleaseError
    from tastemap.release import ReleaseStore

    if out.exists() and not out.is_dir():
        raise ReleaseError(f"{out} is a file, and releases need a directory. Choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        ReleaseStore(out).list()


def publish(
    pipeline: Pipeline,
    data: Dataset,
    out: Path,
    report: Report | None,
    run: Run,
    shown: Dataset | None = None,
) -> Release:
    """Fits a pipeline on all data and makes it the release that is served."""
    from tastemap.release import ReleaseStore

    for model in pipeline.retrievers:
        fit(model, data, run)
    fit_second_stage(pipeline, run, shown)
    measured = {} if report is None else report.metrics
    metrics = {name: value for name, value in measured.items() if not math.isnan(value)}
    notes = "" if report is None else f"measured on {report.part} of split {report.fingerprint}"
    with step(f"Publishing to {out}"):
        return ReleaseStore(out).publish(pipeline, metrics=metrics, notes=notes)


def show(reports: Sequence[Report], metrics: Sequence[str]) -> None:
    """Prints models as rows and metrics as columns, with the bounds of the intervals below."""
    from tastemap.evaluation.report import shown

    def cell(report: Report, metric: str) -> str:
        if metric not in report.metrics:
            return ""
        ends = report.intervals[metric]
        value = shown(report[metric])
        return f"{value}\n" if ends is None else f"{value}\n{shown(ends[0])}–{shown(ends[1])}"

    rows = [[report.model, *(cell(report, metric) for metric in metrics)] for report in reports]
    first = reports[0]
    print_table(["model", *metrics], rows, numbers=metrics)
    note(
        f"{first.n_users:,} users, {first.n_items:,} items; below each value its "
        f"{first.confidence:.0%} interval over users; split {first.fingerprint}"
    )


def _of_lists(metrics: Sequence[str]) -> list[str]:
    """The metrics that every recommender has, one without scores or ratings too."""
    from tastemap.metrics import Metric

    return [name for name in metrics if Metric.parse(name).info.has_k]
