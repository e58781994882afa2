"""`tastemap quickstart`: from nothing to live recommendations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tastemap.cli.options import Settings, models_of, run_on
from tastemap.cli.output import errors, note
from tastemap.cli.serve import serve

__all__ = ["quickstart"]

_METRICS = ["ndcg@10", "recall@20", "hit_rate@10", "coverage@10"]

_YOUR_DATA = """
The same with a log of your own, of users, items and times, and in Python:

  tastemap train --data events.csv --model {model} --out mine
  tastemap serve --release mine

  import tastemap as tm
  data = tm.Dataset.from_files("events.csv")
  split = tm.splits.GlobalTime().split(data)
  model = tm.{cls}().fit(split.train, validation=split.validation)
  print(tm.evaluate(model, split, metrics=["ndcg@10", "recall@20"]))
  tm.ReleaseStore("mine").publish(tm.Pipeline([tm.{cls}()]).fit(data))
"""


def quickstart(
    data: Annotated[
        str, typer.Option(metavar="NAME", help="A data set of `tastemap data list`.")
    ] = "movielens-100k",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A model of `tastemap models`.")
    ] = "als",
    settings: Settings = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the release goes.")] = Path(
        "demo"
    ),
    serving: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve the release at the end.")
    ] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
) -> None:
    """Go from nothing to live recommendations: fetch films, train, evaluate, publish, serve.

    Examples:

    - `tastemap quickstart`
    - `tastemap quickstart --data movielens-1m --model ease --out films --no-serve`
    """
    from tastemap.cli.training import compare, make_place, publish, show
    from tastemap.data import datasets, splits
    from tastemap.pipeline.pipeline import Pipeline

    (chosen,) = models_of([model], settings)
    pipeline = Pipeline([chosen])
    run = run_on("auto")
    make_place(out)
    _headline(1, "Data: what people did")
    # Four and five stars say that somebody liked a film; that is what the model learns.
    liked = datasets.load(data).filter(min_value=4, min_user_events=5)
    note(f"{liked} of at least 4 stars, by people who gave at least 5 of them")

    _headline(2, "Split: each person's last film is held out")
    split = splits.LeaveOneOut().split(liked)
    note(split.description)

    _headline(3, f"Train {chosen.name}, and evaluate it beside popularity")
    reports = compare(pipeline, split, _METRICS, run)
    show(reports, _METRICS)

    _headline(4, "Publish: train on everything, save, check")
    release = publish(pipeline, liked, out, reports[-1], run)
    note(f"Release {release.version} is in {out}")
    note(_YOUR_DATA.format(model=chosen.name, cls=type(chosen).__name__))
    if serving:
        _headline(5, "Serve: open the page in a browser; Ctrl-C stops it")
        serve(release=out, port=port)
    else:
        note(f"Serve it: tastemap serve --release {out}")


def _headline(number: int, text: str) -> None:
    errors().print(f"\n{number}  {text}", style="bold", markup=False)
