"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from tastemap.data.dataset import Dataset
    from tastemap.data.splits import Split
    from tastemap.pipeline.recipe import PipelineRecipe
    from tastemap.policy.rules import Rules
    from tastemap.retrieval.base import Retriever
    from tastemap.training.run import Run

__all__ = [
    "DEFAULT_METRICS",
    "Device",
    "Json",
    "K",
    "Metrics",
    "ModelNames",
    "Recipes",
    "ReleaseDir",
    "RuleFiles",
    "Settings",
    "SplitName",
    "Splitter",
    "metrics_of",
    "models_of",
    "pairs",
    "recipe_of",
    "rules_of",
    "run_on",
    "settings_of",
    "splitter",
]

DEFAULT_METRICS = "ndcg@10,recall@20,hit_rate@10,coverage@10"


class Splitter(Protocol):
    """What makes a split of a data set."""

    def split(self, dataset: Dataset) -> Split: ...


class SplitName(StrEnum):
    """How events are held out for evaluation."""

    global_time = "global-time"
    leave_one_out = "leave-one-out"
    random_per_user = "random-per-user"
    none = "none"


Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
K = Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many items to answer with.")]
ReleaseDir = Annotated[
    Path,
    typer.Option(
        "--release", metavar="DIR", help="What `tastemap train --out DIR` or `.save(DIR)` made."
    ),
]
ModelNames = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="A name of `tastemap models`; may be repeated."),
]
Recipes = Annotated[
    list[Path] | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="A model with the hyper-parameters of a file of `tastemap tune`, or a pipeline with "
        "its ranker (docs/models.md); may be repeated.",
    ),
]
RuleFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="Business rules (docs/rules.md), besides those of recipes; may be repeated.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A hyper-parameter, such as factors=64; of one of several models als.factors=64.",
    ),
]
Device = Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda, cuda:1, …")]
Metrics = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME,…",
        help="What to measure: ndcg, recall, precision, hit_rate, map, mrr, coverage, novelty, … "
        "with the length of the list behind @, and auc, rmse, mae.",
    ),
]


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """The `name=value` texts of an option that may be repeated."""
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise typer.BadParameter(f"write it as NAME=VALUE, not {text!r}", param_hint=option)
        if name.strip() in found:
            raise typer.BadParameter(f"{name.strip()!r} is given twice", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def recipe_of(
    names: Sequence[str] | None,
    recipes: Sequence[Path] | None = None,
    ranker: str | None = None,
    candidates: int | None = None,
) -> PipelineRecipe:
    """What is asked for by names, by recipes and by the options of the second stage, as one recipe
    without rules.

    Raises:
        ParameterError: no model at all, an unknown one, or one or the ranker named twice.
        DataError: a recipe cannot be read.
    """
    from tastemap.errors import ParameterError
    from tastemap.pipeline.recipe import PipelineRecipe, RankerRecipe

    asked = [PipelineRecipe({name.lower(): {}}) for name in names or []]
    asked += [PipelineRecipe.read(path) for path in recipes or []]
    second = None if ranker is None else RankerRecipe(ranker.lower())
    try:
        found = PipelineRecipe.joined([*asked, PipelineRecipe({}, second)])
    except ParameterError as error:
        raise ParameterError(f"options and recipes do not go together: {error}") from None
    if not found.retrievers:
        raise ParameterError("say which model: --model NAME, or --recipe FILE")
    return found if candidates is None else replace(found, candidates=candidates)


def settings_of(
    recipe: PipelineRecipe, settings: Sequence[str] | None
) -> dict[str, dict[str, str]]:
    """The texts of --set by what they are hyper-parameters of; see `PipelineRecipe.classes`.

    Raises:
        ParameterError: an unknown model or ranker, or it is not clear whose hyper-parameter one is.
    """
    from tastemap.errors import ParameterError

    classes = recipe.classes()
    found: dict[str, dict[str, str]] = {name: {} for name in classes}
    for name, value in pairs(settings, "--set").items():
        owner, dot, field = name.partition(".")
        if not dot and len(classes) == 1:
            owner, field = next(iter(classes)), name
        if not field or owner.lower() not in found:
            wanted = field or name
            fitting = [each for each in classes if wanted in classes[each].hyperparameters()]
            choices = ", ".join(f"{each}.{wanted}={value}" for each in fitting or classes)
            raise ParameterError(f"--set {name}={value}: say of which model, such as {choices}")
        found[owner.lower()][field] = value
    return found


def models_of(
    names: Sequence[str] | None,
    settings: Sequence[str] | None,
    recipes: Sequence[Path] | None = None,
) -> list[Retriever]:
    """The models asked for, by name and by recipe, with their hyper-parameters, each for itself.

    Raises:
        ParameterError: as `recipe_of` and `settings_of`; an unknown hyper-parameter, a value out
            of its range, or a recipe that has a ranker too.
        DataError: a recipe cannot be read.
    """
    from tastemap.errors import ParameterError

    recipe = recipe_of(names, recipes)
    if recipe.ranker is not None:
        raise ParameterError(
            f"models are compared here, each alone, and a recipe has the ranker "
            f"{recipe.ranker.model!r} too; `tastemap train` evaluates both stages"
        )
    return recipe.make_retrievers(settings_of(recipe, settings))


def rules_of(recipes: Sequence[Path] | None, files: Sequence[Path] | None) -> Rules:
    """The business rules of recipes, then those of files.

    Raises:
        DataError: a file cannot be read.
        RuleError: a rule cannot be understood, or two have one name.
    """
    from tastemap.pipeline.recipe import PipelineRecipe
    from tastemap.policy.rules import Rules

    found = Rules()
    for recipe in recipes or []:
        found = found.joined(Rules.from_tables(PipelineRecipe.read(recipe).rules))
    for file in files or []:
        found = found.joined(Rules.read(file))
    return found


def run_on(device: str, progress: bool | None = None) -> Run:
    """How models are trained on a device, with a progress bar or not (None: on a terminal).

    Raises:
        ParameterError: this machine does not have it.
    """
    from tastemap.training.run import Run

    run = Run(device=device, progress=progress)
    if device != "auto":
        # Now, rather than after the data are read.
        run.torch_device()
    return run


def metrics_of(text: str) -> list[str]:
    """The names of a comma-separated list of metrics, checked.

    Raises:
        ParameterError: one is not a metric.
    """
    from tastemap.metrics import Metric

    names = [name for name in text.split(",") if name.strip()]
    return [str(metric) for metric in Metric.parse_all(names)]


def splitter(name: SplitName) -> Splitter | None:
    """The splitter of a name, None for "none"."""
    from tastemap.data import splits

    made: dict[SplitName, Callable[[], Splitter]] = {
        SplitName.global_time: splits.GlobalTime,
        SplitName.leave_one_out: splits.LeaveOneOut,
        SplitName.random_per_user: splits.RandomPerUser,
    }
    return made[name]() if name in made else None
