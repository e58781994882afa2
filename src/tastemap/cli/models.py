"""`tastemap models`: what there is to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tastemap.cli.options import Json
from tastemap.cli.output import print_json, print_table, results

if TYPE_CHECKING:
    from tastemap.ranking.base import Ranker
    from tastemap.retrieval.base import Retriever

__all__ = ["models"]


def models(
    name: Annotated[
        str | None, typer.Argument(help="A model, to see its hyper-parameters.")
    ] = None,
    json: Json = False,
) -> None:
    """List the models, or one model's hyper-parameters.

    Examples:

    - `tastemap models`  each with its paper
    - `tastemap models als`  its hyper-parameters, to be given by --set NAME=VALUE
    """
    from tastemap.ranking.table import ranker_class, ranker_names
    from tastemap.retrieval.table import model_class, model_names

    if name is None:
        classes: list[type[Retriever] | type[Ranker]] = [
            *(model_class(each) for each in model_names()),
            *(ranker_class(each) for each in ranker_names()),
        ]
        if json:
            print_json([_described(cls) for cls in classes])
        else:
            print_table(
                ["name", "stage", "class", "paper"],
                [[cls.name, _stage(cls), cls.__name__, cls.paper] for cls in classes],
            )
        return
    cls = ranker_class(name) if name in ranker_names() else model_class(name)
    if json:
        print_json(_described(cls))
        return
    console = results()
    console.print(f"{cls.name}  (tm.{cls.__name__})", style="bold", markup=False)
    console.print((cls.__doc__ or "").partition("\n\n")[0], markup=False)
    console.print(cls.paper, style="dim", markup=False)
    print_table(
        ["name", "type", "default", "bounds", "meaning"],
        [
            [p.name, p.type_name, _shown(p.default), p.bounds, p.help]
            for p in cls.hyperparameters().values()
        ],
    )


def _shown(value: Any) -> str:
    # As --set takes it.
    return (
        "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def _stage(cls: type[Retriever] | type[Ranker]) -> str:
    from tastemap.ranking.base import Ranker

    return "ranking" if issubclass(cls, Ranker) else "retrieval"


def _described(cls: type[Retriever] | type[Ranker]) -> dict[str, Any]:
    return {
        "name": cls.name,
        "stage": _stage(cls),
        "class": cls.__name__,
        "paper": cls.paper,
        "hyperparameters": [
            {
                "name": p.name,
                "type": p.type.__name__,
                "optional": p.optional,
                "choices": p.choices,
                "default": p.default,
                "bounds": p.bounds,
                "help": p.help,
            }
            for p in cls.hyperparameters().values()
        ],
    }
