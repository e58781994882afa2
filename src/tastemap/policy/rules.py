"""Rules as they are declared: read from TOML, written to it, put to work on a data set."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tastemap.data.dataset import Dataset
from tastemap.errors import DataError, RuleError, did_you_mean
from tastemap.policy.age import AgeRating
from tastemap.policy.availability import Availability
from tastemap.policy.caps import Cap
from tastemap.policy.freshness import Freshness
from tastemap.policy.geography import Geography
from tastemap.policy.lists import Allow, Deny
from tastemap.policy.pins import Pin
from tastemap.policy.policy import Policy
from tastemap.policy.rule import Rule

__all__ = ["KINDS", "Rules"]

_CLASSES: tuple[type[Rule], ...] = (
    Allow, Deny, Availability, AgeRating, Geography, Cap, Pin, Freshness,
)  # fmt: skip
KINDS = {cls.kind: cls for cls in _CLASSES}
_LONGEST = 64


class Rules(Mapping[str, Rule]):
    """Rules by their names, in the order in which they apply.

    Args:
        rules: by name. A name is what metrics and messages call the rule.

    Raises:
        RuleError: a name that is empty or longer than 64 characters.
    """

    def __init__(self, rules: Mapping[str, Rule] | None = None) -> None:
        self._rules = dict(rules or {})
        for name in self._rules:
            if not name.strip() or len(name) > _LONGEST or not name.isprintable():
                raise RuleError(
                    f"{name!r:.80} is no name of a rule",
                    remedy=f"Give it one of up to {_LONGEST} characters",
                )

    @classmethod
    def from_tables(cls, tables: Any) -> Self:
        """The rules of the tables [rules.NAME] of a TOML file.

        Raises:
            RuleError: an unknown kind or key, a missing one, a wrong type or an impossible number.
        """
        if not isinstance(tables, Mapping):
            raise RuleError("must be tables", remedy='Write [rules.NAME] and kind = "deny" below')
        return cls({name: _rule(name, table) for name, table in tables.items()})

    @classmethod
    def from_toml(cls, text: str, source: str | Path | None = None) -> Self:
        """The rules of a TOML document, which holds nothing but tables [rules.NAME].

        Raises:
            DataError: it is not TOML, or holds something else.
            RuleError: as of `from_tables`.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"this is not TOML: {error}", source=source) from None
        if unknown := sorted(set(tables) - {"rules"}):
            raise DataError(
                f"a file of rules has no {unknown[0]!r}",
                source=source,
                remedy="It holds nothing but tables [rules.NAME]",
            )
        return cls.from_tables(tables.get("rules", {}))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The rules of a file.

        Raises:
            DataError: the file cannot be read, is not TOML, or holds something else.
            RuleError: as of `from_tables`.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(
                "there is no such file", source=path, remedy="docs/rules.md says how to write one"
            ) from None
        except (IsADirectoryError, UnicodeDecodeError):
            raise DataError("this is not a TOML file", source=path) from None
        return cls.from_toml(text, path)

    def to_tables(self) -> dict[str, Any]:
        """What `from_tables` reads."""
        return {name: rule.to_table() for name, rule in self.items()}

    def joined(self, others: Mapping[str, Rule]) -> Rules:
        """These rules, then others.

        Raises:
            RuleError: two of one name.
        """
        for name in others:
            if name in self:
                raise RuleError(
                    "there are two rules of this name", rule=name, remedy="Rename one of them"
                )
        return Rules({**self, **others})

    def on(self, data: Dataset) -> Policy:
        """The rules at work on a data set.

        Raises:
            RuleError: a rule does not fit the data; the message names rule and key.
        """
        return Policy(self, data)

    def __getitem__(self, name: str) -> Rule:
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def __repr__(self) -> str:
        return f"Rules({self._rules!r})"


def _rule(name: str, table: Any) -> Rule:
    if not isinstance(table, Mapping):
        raise RuleError(
            "must be a table", rule=name, remedy=f'Write [rules.{name}] and kind = "deny" below'
        )
    kinds = ", ".join(KINDS)
    if "kind" not in table:
        raise RuleError("the kind is missing", rule=name, remedy=f"The kinds are {kinds}")
    kind = table["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise RuleError(
            f"there is no kind {kind!r:.80}{did_you_mean(str(kind), KINDS)}",
            rule=name,
            key="kind",
            remedy=f"The kinds are {kinds}",
        )
    try:
        return KINDS[kind](**{key: value for key, value in table.items() if key != "kind"})
    except RuleError as error:
        raise error.of(name) from None
