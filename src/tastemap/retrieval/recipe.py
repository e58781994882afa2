"""Recipes: TOML files that hold a model's hyper-parameters and how they were found."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import tomli_w

from tastemap.errors import DataError, ParameterError, did_you_mean
from tastemap.hyperparameters import Hyperparameters
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class

__all__ = ["KEYS", "Recipe", "made", "nameless", "read_tables"]

KEYS = ("model", "hyperparameters", "found", "rules")
"""What may stand at the top of a recipe of a model."""
H = TypeVar("H", bound=Hyperparameters)


@dataclass(frozen=True)
class Recipe:
    """What to make a model of.

    Attributes:
        model: its command-line name.
        hyperparameters: values by name; those left out have the class's defaults.
        found: how they were found, for people: data, split, metric, value, trials.
        comment: the file's first line, for people.
        rules: business rules for the pipeline that the model becomes part of, tables by name as
            `Rules.from_tables` reads them.
    """

    model: str
    hyperparameters: Mapping[str, Any]
    found: Mapping[str, Any] = field(default_factory=dict)
    comment: str = ""
    rules: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The recipe of a file.

        Raises:
            DataError: there is no such file, it is not TOML, or not a recipe.
            ParameterError: no such model or hyper-parameter, or a value out of its range.
        """
        path = Path(path)
        tables, comment = read_tables(path, KEYS)
        model = tables.get("model")
        if not isinstance(model, str):
            raise nameless(path)
        values, found = tables.get("hyperparameters", {}), tables.get("found", {})
        recipe = cls(model, values, found, comment, tables.get("rules", {}))
        try:
            recipe.make()
        except ParameterError as error:
            raise ParameterError(f"{path}: {error}") from None
        return recipe

    def make(self, **settings: str) -> Retriever:
        """The model, not fitted; `settings`, texts of a command line, replace values of the recipe.

        Raises:
            ParameterError: no such model or hyper-parameter, or a value out of its range.
        """
        return made(model_class(self.model), self.hyperparameters, settings)

    def to_toml(self) -> str:
        values = {n: "none" if v is None else v for n, v in self.hyperparameters.items()}
        tables = {"model": self.model, "hyperparameters": values, "found": dict(self.found)}
        if self.rules:
            tables["rules"] = dict(self.rules)
        comment = " ".join(self.comment.split())
        return (f"# {comment}\n" if comment else "") + tomli_w.dumps(tables)

    def write(self, path: str | Path) -> Path:
        """Writes the recipe to a file, whose folders are made if need be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_toml(), encoding="utf-8")
        return path


def made(cls: type[H], values: Mapping[str, Any], settings: Mapping[str, str]) -> H:
    """An instance of hyper-parameters as a recipe has them; `settings`, texts of a command line,
    replace them.

    Raises:
        ParameterError: no such hyper-parameter, or a value out of its range.
    """
    given = {
        # TOML has no null; "none" is what the command line takes for it too.
        name: None if value == "none" and cls.hyperparameter(name).optional else value
        for name, value in values.items()
    }
    parsed = {
        name: cls.hyperparameter(name).parse(cls.__name__, text) for name, text in settings.items()
    }
    return cls(**given | parsed)


def nameless(path: Path) -> DataError:
    """The file of a recipe does not say of which model it is."""
    return DataError(
        "a recipe says of which model it is", source=path, remedy='Write model = "als"'
    )


def read_tables(path: Path, keys: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What a file of a recipe says, and its first line where that is a comment.

    Args:
        path: of the file.
        keys: what may stand at its top; all but "model" and "candidates" are tables.

    Raises:
        DataError: there is no such file, it is not TOML, or something else stands at its top.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise DataError(
            "there is no such file", source=path, remedy="`tastemap tune` writes recipes"
        ) from None
    except IsADirectoryError:
        raise DataError("this is a directory, not a recipe", source=path) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"this is not TOML: {error}", source=path) from None
    if unknown := sorted(set(tables) - set(keys)):
        raise DataError(
            f"a recipe has no {unknown[0]!r}{did_you_mean(unknown[0], keys)}",
            source=path,
            remedy='It has a line model = "als", and the tables [hyperparameters], [found] and '
            "[rules.NAME]; that of a pipeline has [retrievers.NAME] and [ranker] too",
        )
    for name in set(tables) - {"model", "candidates"}:
        if not isinstance(tables[name], dict):
            raise DataError(f"{name} must be a table", source=path, remedy=f"Write [{name}]")
    first = text.partition("\n")[0]
    return tables, first[1:].strip() if first.startswith("#") else ""
