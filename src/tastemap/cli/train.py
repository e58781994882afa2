"""`tastemap train` and `tastemap evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tastemap.cli.options import (
    DEFAULT_METRICS,
    Device,
    Json,
    Metrics,
    ModelNames,
    Recipes,
    RuleFiles,
    Settings,
    SplitName,
    metrics_of,
    models_of,
    recipe_of,
    rules_of,
    run_on,
    settings_of,
    splitter,
)
from tastemap.cli.output import note, print_json, print_table
from tastemap.cli.reading import Opened, reads_data

if TYPE_CHECKING:
    from tastemap.evaluation import Report

__all__ = ["evaluate", "train"]


@reads_data
def train(
    opened: Opened,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The release store; made where it is not there.")
    ],
    model: ModelNames = None,
    recipe: Recipes = None,
    settings: Settings = None,
    ranker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A ranker of `tastemap models`, which orders what all models propose by all that "
            "is known: the second stage.",
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many items each model proposes, of several or to a ranker; 200 where no "
            "recipe says another number.",
        ),
    ] = None,
    rules: RuleFiles = None,
    split: Annotated[
        SplitName, typer.Option(help="How events are held out for the evaluation.")
    ] = SplitName.global_time,
    no_evaluate: Annotated[
        bool, typer.Option("--no-evaluate", help="Train and publish only, as with --split none.")
    ] = False,
    metrics: Metrics = DEFAULT_METRICS,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Make a release of a log: train, evaluate beside popularity, publish.

    Models learn from one part of the events and are judged by the rest. Then they learn from all
    events and are published, several of them as one pipeline. Without --model and --recipe it is
    als. Business rules are checked against the data before anything is trained, and go with the
    release; the evaluation is without them.

    With --ranker there are two stages: models propose, and the ranker orders. It learns from what
    the same models, trained on earlier events only, propose to those who came later, so that
    nothing leaks. It needs times. How its training rows are made is set by out_of_time.NAME=VALUE,
    what it looks at by features.NAME=VALUE, and how much of the catalogue its lists show by
    long_tail.NAME=VALUE; a recipe can say all of it (docs/models.md).

    Examples:

    - `tastemap train --data events.csv --model als --out demo`
    - `tastemap train --data events.csv --kind event --weight view=1 --weight purchase=5
    --model als --model itemknn --set als.factors=64 --items products.csv --out demo`
    - `tastemap train --data movielens-1m --min-value 4 --recipe recipes/movielens-1m/als.toml
    --out demo`
    - `tastemap train --data movielens-1m --model als --rules rules.toml --out demo`
    - `tastemap train --data movielens-1m --model ease --model als --ranker lightgbm
    --candidates 200 --set lightgbm.learning_rate=0.03 --set out_of_time.moments=4 --out demo`

    Then: `tastemap serve --release demo`
    """
    from tastemap.cli.training import compare, make_place, publish, show
    from tastemap.policy.rules import Rules

    # What is wrong with the arguments is said before the data are read.
    names, run = metrics_of(metrics), run_on(device)
    asked = recipe_of(model if model or recipe else ["als"], recipe, ranker, candidates)
    texts = settings_of(asked, settings)
    judged = asked.make(Rules(), texts)
    if judged.ranker is not None:
        judged.ranker.check_installed()
    how = None if no_evaluate else splitter(split)
    declared = rules_of(recipe, rules)
    dataset, shown = opened.with_shown()
    note(str(dataset))
    declared.on(dataset)
    if judged.ranker is not None:
        judged.rows.check(dataset)
    make_place(out)
    reports: list[Report] = []
    if how is not None:
        parts = how.split(dataset)
        note(parts.description)
        reports = compare(judged, parts, names, run, shown)
        if not json:
            show(reports, names)
    pipeline = asked.make(declared, texts)
    release = publish(pipeline, dataset, out, reports[-1] if reports else None, run, shown)
    if json:
        print_json(
            {
                "release": release.version,
                "path": str(release.path),
                "models": release.models,
                "ranker": release.ranker,
                "metrics": release.metrics,
                "reports": [report.to_dict() for report in reports],
            }
        )
        return
    print(f"Release {release.version} is in {out}")
    note(f"Serve it: tastemap serve --release {out}")


@reads_data
def evaluate(
    opened: Opened,
    model: ModelNames = None,
    recipe: Recipes = None,
    settings: Settings = None,
    split: Annotated[
        SplitName, typer.Option(help="How events are held out.")
    ] = SplitName.global_time,
    metrics: Metrics = DEFAULT_METRICS,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Train so often, with seeds 0, 1, …, where a model draws."),
    ] = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare models: one split, one table, confidence intervals.

    Examples:

    - `tastemap evaluate --data movielens-100k --min-value 4 --model popularity --model ease
    --model als`
    - `tastemap evaluate --data movielens-100k --model matrixfactorization --split random-per-user
    --metrics rmse,mae`
    """
    from tastemap.cli.training import judge, show

    models, names = models_of(model, settings, recipe), metrics_of(metrics)
    run = run_on(device)
    how = splitter(split)
    if how is None:
        raise typer.BadParameter("there is nothing to evaluate on without a split")
    parts = how.split(opened())
    note(parts.description)
    reports = []
    for asked in models:
        draws = "seed" in asked.hyperparameters()
        for seed in range(seeds if draws else 1):
            # With one run the seed stays that of --set.
            given = asked.hyperparameter_values() | ({"seed": seed} if seeds > 1 and draws else {})
            reports.append((seed, judge(type(asked)(**given), parts, names, run)))
    if json:
        found = [{**report.to_dict(), "seed": seed} for seed, report in reports]
        print_json({"split": parts.description, "fingerprint": parts.fingerprint, "reports": found})
    elif seeds == 1:
        show([report for _, report in reports], names)
    else:
        _show_seeds([report for _, report in reports], names)


def _show_seeds(reports: list[Report], metrics: list[str]) -> None:
    """Mean and standard deviation over the runs of each model."""
    from statistics import fmean, stdev

    runs: dict[str, list[Report]] = {}
    for report in reports:
        runs.setdefault(report.model, []).append(report)

    def cell(of_model: list[Report], metric: str) -> str:
        values = [report[metric] for report in of_model]
        spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
        return f"{fmean(values):.4f}{spread}"

    rows = [
        [name, str(len(each)), *(cell(each, metric) for metric in metrics)]
        for name, each in runs.items()
    ]
    print_table(["model", "runs", *metrics], rows, numbers=["runs", *metrics])
    note("Mean ± standard deviation over runs with different seeds, on one split.")
