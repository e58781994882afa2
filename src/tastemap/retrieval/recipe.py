"""Recipes: TOML files that hold a model's hyper-parameters and how they were found."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import tomli_w

from tastemap.errors import DataError, ParameterError
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class

__all__ = ["Recipe"]

_TABLES = {"model", "hyperparameters", "found", "rules"}


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
        if unknown := sorted(set(tables) - _TABLES):
            raise DataError(
                f"a recipe has no {unknown[0]!r}",
                source=path,
                remedy='It has a line model = "als", and the tables [hyperparameters], '
                "[found] and [rules.NAME]",
            )
        model, values = tables.get("model"), tables.get("hyperparameters", {})
        found, rules = tables.get("found", {}), tables.get("rules", {})
        if not isinstance(model, str):
            raise DataError(
                "a recipe says of which model it is", source=path, remedy='Write model = "als"'
            )
        for name, table in (("hyperparameters", values), ("found", found), ("rules", rules)):
            if not isinstance(table, dict):
                raise DataError(f"{name} must be a table", source=path, remedy=f"Write [{name}]")
        first = text.partition("\n")[0]
        comment = first[1:].strip() if first.startswith("#") else ""
        recipe = cls(model, values, found, comment, rules)
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
        cls = model_class(self.model)
        values = {
            # TOML has no null; "none" is what the command line takes for it too.
            name: None if value == "none" and cls.hyperparameter(name).optional else value
            for name, value in self.hyperparameters.items()
        }
        for name, text in settings.items():
            values[name] = cls.hyperparameter(name).parse(cls.__name__, text)
        return cls(**values)

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
