"""Recipes of pipelines: TOML files that name retrievers, a ranker, and how that is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Self

from tastemap.errors import ParameterError, did_you_mean
from tastemap.features.point_in_time import PointInTime
from tastemap.hyperparameters import Hyperparameters
from tastemap.pipeline.long_tail import LongTail
from tastemap.pipeline.pipeline import Pipeline
from tastemap.pipeline.ranking_stage import OutOfTime
from tastemap.policy.rules import Rules
from tastemap.ranking.table import ranker_class
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.recipe import KEYS, made, nameless, read_tables
from tastemap.retrieval.table import model_class

__all__ = ["PipelineRecipe", "RankerRecipe"]

_KEYS = (*KEYS, "candidates", "retrievers", "ranker")
_OF_RANKER = ("model", "hyperparameters", "out_of_time", "features", "long_tail")
_CANDIDATES = 200

Values = Mapping[str, Any]
# Texts of a command line by the name of what they are hyper-parameters of.
Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class RankerRecipe:
    """What to make the second stage of: the table [ranker] and those in it.

    Attributes:
        model: the command-line name of the ranker.
        hyperparameters: of the ranker; those left out have the class's defaults.
        out_of_time: of `OutOfTime`, how its training rows are made.
        features: of `PointInTime`, what it looks at.
        long_tail: of `LongTail`, which places go to what few people take.
    """

    model: str
    hyperparameters: Values = field(default_factory=dict)
    out_of_time: Values = field(default_factory=dict)
    features: Values = field(default_factory=dict)
    long_tail: Values = field(default_factory=dict)

    @classmethod
    def from_table(cls, table: Values) -> Self:
        """What a recipe's table [ranker] says.

        Raises:
            ParameterError: it names no ranker, or holds what it should not.
        """
        if unknown := sorted(set(table) - set(_OF_RANKER)):
            raise ParameterError(
                f"[ranker] has no {unknown[0]!r}{did_you_mean(unknown[0], _OF_RANKER)} (it has: "
                f"{', '.join(_OF_RANKER)})"
            )
        if not isinstance(table.get("model"), str):
            raise ParameterError('[ranker] says which it is: write model = "lightgbm"')
        for name in set(table) - {"model"}:
            _check_table(f"ranker.{name}", table[name])
        return cls(**table)

    def make(self, settings: Settings) -> dict[str, Any]:
        """The arguments of `Pipeline` that have to do with the ranker."""

        def part(cls: type[Any], name: str, values: Values) -> Any:
            return made(cls, values, settings.get(name, {}))

        return {
            "ranker": part(ranker_class(self.model), self.model, self.hyperparameters),
            "rows": part(OutOfTime, "out_of_time", self.out_of_time),
            "features": part(PointInTime, "features", self.features),
            "long_tail": part(LongTail, "long_tail", self.long_tail),
        }


@dataclass(frozen=True)
class PipelineRecipe:
    """What to make a pipeline of. The recipe of a model is that of a pipeline of it alone.

    Attributes:
        retrievers: hyper-parameters by the command-line name of a model; those left out have the
            class's defaults.
        ranker: of the second stage, or None.
        candidates: how many each retriever proposes; None where nothing is said.
        rules: business rules, tables by name as `Rules.from_tables` reads them.
    """

    retrievers: Mapping[str, Values] = field(default_factory=dict)
    ranker: RankerRecipe | None = None
    candidates: int | None = None
    rules: Values = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The recipe of a file: of a model, as `tastemap tune` writes it, or of a pipeline.

        Raises:
            DataError: there is no such file, it is not TOML, or not a recipe.
            ParameterError: no such model, ranker or hyper-parameter, or a value out of its range.
        """
        path = Path(path)
        tables, _ = read_tables(path, _KEYS)
        model, retrievers = tables.get("model"), tables.get("retrievers", {})
        if (model is None and not {"retrievers", "ranker"} & set(tables)) or (
            model is None and "hyperparameters" in tables
        ):
            raise nameless(path)
        try:
            if model is not None:
                if not isinstance(model, str) or retrievers:
                    raise ParameterError(
                        'a recipe names its models once: write model = "als", or for each a table '
                        "such as [retrievers.als]"
                    )
                retrievers = {model: tables.get("hyperparameters", {})}
            for name, values in retrievers.items():
                _check_table(f"retrievers.{name}", values)
            ranker = tables.get("ranker")
            recipe = cls(
                {name.lower(): values for name, values in retrievers.items()},
                None if ranker is None else RankerRecipe.from_table(ranker),
                _count(tables.get("candidates")),
                tables.get("rules", {}),
            )
            # What is wrong is found now, and not when the pipeline is made.
            recipe.make_retrievers({})
            if recipe.ranker is not None:
                recipe.ranker.make({})
        except ParameterError as error:
            raise ParameterError(f"{path}: {error}") from None
        return recipe

    @classmethod
    def joined(cls, recipes: Iterable[PipelineRecipe]) -> PipelineRecipe:
        """Several recipes as one, without their rules, which `Rules.joined` is for.

        Raises:
            ParameterError: two of them say the same.
        """
        return reduce(PipelineRecipe._and, recipes, PipelineRecipe())

    def _and(self, other: PipelineRecipe) -> PipelineRecipe:
        names = [*self.retrievers, *other.retrievers]
        if len(set(names)) < len(names):
            raise ParameterError(f"a model is named twice in {', '.join(names)}")
        if self.ranker is not None and other.ranker is not None:
            raise ParameterError(
                f"two rankers are named, {self.ranker.model!r} and {other.ranker.model!r}"
            )
        if self.candidates is not None and other.candidates is not None:
            raise ParameterError("candidates are said twice")
        return PipelineRecipe(
            {**self.retrievers, **other.retrievers},
            self.ranker or other.ranker,
            other.candidates if self.candidates is None else self.candidates,
        )

    def classes(self) -> dict[str, type[Hyperparameters]]:
        """By name what has hyper-parameters: each retriever and, where there is a ranker, it and
        "out_of_time", "features" and "long_tail".

        Raises:
            ParameterError: no such model or ranker.
        """
        found: dict[str, type[Hyperparameters]] = {n: model_class(n) for n in self.retrievers}
        if self.ranker is not None:
            found[self.ranker.model] = ranker_class(self.ranker.model)
            found |= {"out_of_time": OutOfTime, "features": PointInTime, "long_tail": LongTail}
        return found

    def make(self, rules: Rules | None = None, settings: Settings | None = None) -> Pipeline:
        """The pipeline, not fitted.

        Args:
            rules: in place of those of the recipe.
            settings: texts of a command line that replace values, by the names of `classes`.

        Raises:
            ParameterError: no retriever, no such model, ranker or hyper-parameter, or a value out
                of its range.
        """
        texts = settings or {}
        return Pipeline(
            self.make_retrievers(texts),
            candidates=_CANDIDATES if self.candidates is None else self.candidates,
            rules=Rules.from_tables(self.rules) if rules is None else rules,
            **({} if self.ranker is None else self.ranker.make(texts)),
        )

    def make_retrievers(self, settings: Settings) -> list[Retriever]:
        """The retrievers alone; see `make`."""
        return [
            made(model_class(name), values, settings.get(name, {}))
            for name, values in self.retrievers.items()
        ]


def _check_table(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise ParameterError(f"{name} must be a table: write [{name}]")


def _count(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ParameterError(f"candidates must be a whole number from 1, got {value!r}")
    return value
