"""`tastemap tune`: a search for good hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemap.cli.options import Device, Json, SplitName, metrics_of, pairs, run_on
from tastemap.cli.output import note, print_json, print_table
from tastemap.cli.reading import Opened, reads_data

if TYPE_CHECKING:
    from tastemap.data.dataset import Dataset
    from tastemap.data.splits import Split
    from tastemap.tuning import Study

__all__ = ["tune"]


@reads_data
def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `tastemap models`.")],
    opened: Opened,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The search's folder: its journal, the report and the recipe."
        ),
    ],
    trials: Annotated[int, typer.Option(min=1, help="How many settings to try.")] = 30,
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="End after so long, with what was found by then."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="NAME=RANGE",
            help="What to try for a hyper-parameter: factors=16..256, or loss=mse,bpr; may be "
            "repeated. The others are searched around their defaults.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A hyper-parameter that is not searched, such as epochs=20; may be repeated.",
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What to go by: ndcg@10, recall@20, rmse, …")
    ] = "ndcg@10",
    split: Annotated[
        SplitName, typer.Option(help="How events are held out; trials see no test event.")
    ] = SplitName.global_time,
    depth: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Lengths of the vectors for the report's curve; none for no curve. By default "
            "powers of two around the best.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Measure the best settings again with so many seeds.")
    ] = 1,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trials at a time, each with its share of the cores.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the settings that are tried.")] = 0,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew/--resume",
            help="Forget what DIR holds, or go on with it (the default).",
        ),
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Search for good hyper-parameters: the recipe, and a report with plots.

    Trials learn from the training part of a split and are measured on its validation part; the test
    part is not touched. Trials that promise little end early. A search that was ended, in whatever
    way, is gone on with by the same command.

    Examples:

    - `tastemap tune als --data movielens-1m --min-value 4 --trials 20 --out runs/als`
    - `tastemap tune als --data events.csv --search factors=16..256 --set iterations=8
    --time-budget 600 --out runs/als`
    - `tastemap tune matrixfactorization --data movielens-1m --metric rmse --split random-per-user
    --set loss=mse --search learning_rate=0.01..0.2 --depth 4,16,64,256 --out runs/mf`

    Then: `tastemap train --data events.csv --recipe runs/als/als.toml --out demo`
    """
    from tastemap.retrieval.table import model_class
    from tastemap.tuning import tune as search_for

    cls, run = model_class(model), run_on(device, progress=not json or None)
    (asked,) = _one(metrics_of(metric))
    fixed = {
        name: cls.hyperparameter(name).parse(cls.__name__, text)
        for name, text in pairs(settings, "--set").items()
    }
    depths = _depths(depth)
    parts = _split(split, opened())
    note(f"{parts.description} Trials are measured on the validation part.")
    study = search_for(
        cls,
        parts,
        trials=trials,
        time_budget=time_budget,
        metric=asked,
        space=pairs(search, "--search"),
        fixed=fixed,
        depths=depths,
        seeds=seeds,
        jobs=jobs,
        seed=seed,
        folder=out,
        anew=anew,
        name=str(opened),
        run=run,
    )
    recipe, report = out / f"{cls.name}.toml", study.report(out / "report.html")
    study.recipe(recipe)
    study.frame().write_csv(out / "trials.csv")
    if json:
        print_json({**study.to_dict(), "recipe": str(recipe), "report": str(report)})
    else:
        _show(study)
        note(f"Report: {report}")
        note(f"Recipe: {recipe}")
    if study.interrupted:
        note("Interrupted; the same command goes on from here.")
        raise typer.Exit(130)
    note(f"Train by it: tastemap train --recipe {recipe} --data … --out DIR")


def _one(metrics: list[str]) -> list[str]:
    if len(metrics) != 1:
        raise typer.BadParameter("name one metric to go by", param_hint="--metric")
    return metrics


def _depths(text: str | None) -> list[int] | None:
    if text is None:
        return None
    if text.strip().lower() == "none":
        return []
    try:
        return sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise typer.BadParameter(
            f"write whole numbers, as in 8,16,32, not {text!r}", param_hint="--depth"
        ) from None


def _split(name: SplitName, dataset: Dataset) -> Split:
    """A split with a validation part, whose test part is that of `tastemap evaluate`."""
    from tastemap.data import splits

    if name is SplitName.none:
        raise typer.BadParameter("there is nothing to measure on without a split")
    if name is SplitName.random_per_user:
        return splits.RandomPerUser(validation=0.1).split(dataset)
    if name is SplitName.leave_one_out:
        return splits.LeaveOneOut().split(dataset)
    return splits.GlobalTime().split(dataset)


def _show(study: Study) -> None:
    """Prints what was measured again, or the best trial, and the settings."""
    metric = str(study.metric)

    def cell(value: float, deviation: float | None) -> str:
        return f"{value:.4f}" if deviation is None else f"{value:.4f} ± {deviation:.4f}"

    rows: list[list[Any]] = [
        [each.name, len(each.measured), cell(each.value, each.deviation)] for each in study.checks
    ]
    if not rows:
        rows = [[f"trial {study.best_trial.number}", 1, cell(study.value, None)]]
    print_table(["settings", "runs", f"{metric} on validation"], rows, numbers=["runs"])
    settings = [
        [
            name,
            "none" if study.best[name] is None else study.best[name],
            " " if name in study.space else "not searched",
        ]
        for name in study.best
    ]
    print_table(["hyper-parameter", "best", ""], settings, numbers=["best"])
