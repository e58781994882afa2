"""The exceptions users see. Each says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "DataError",
    "MissingExtraError",
    "NotFittedError",
    "ParameterError",
    "ReleaseError",
    "RuleError",
    "SchemaError",
    "TastemapError",
    "UnavailableError",
    "UnknownIdError",
    "did_you_mean",
]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name, "; did you mean 'factors'?"; "" where no known
    name is like it."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class TastemapError(Exception):
    """Base of every error that Tastemap raises on purpose."""


class ParameterError(TastemapError, ValueError):
    """An argument or hyper-parameter is out of its type or range; the message names it."""


class RuleError(ParameterError):
    """A business rule that cannot be understood, or does not fit the data.

    Attributes:
        problem: what is wrong.
        rule: the rule's name, "" where it is not known yet.
        key: its key that is wrong, "" for the rule as a whole.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, *, remedy: str, key: str = "", rule: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.key = key
        self.rule = rule
        place = ".".join(part for part in ("rules", rule, key) if part)
        end = "" if problem.endswith("?") else "."
        super().__init__(f"{place}: {problem}{end} {remedy}")

    def of(self, rule: str) -> RuleError:
        """The same error, of a rule of this name."""
        return RuleError(self.problem, remedy=self.remedy, key=self.key, rule=rule)


class NotFittedError(TastemapError, RuntimeError):
    """A model was asked for answers before `fit`."""


class SchemaError(TastemapError, ValueError):
    """Features contradict each other, or values do not fit the features; the message names one."""


class UnknownIdError(TastemapError, LookupError):
    """An external id that the vocabulary does not hold, where an answer needs it."""


class ReleaseError(TastemapError):
    """A saved model, pipeline, or release store is damaged, too new, or not one at all."""


class MissingExtraError(TastemapError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""


class UnavailableError(TastemapError):
    """A database or cache outside this process cannot be reached, fails, or takes too long; the
    message names it. It may be back a moment later."""


class DataError(TastemapError, ValueError):
    """Input data that cannot be used.

    Attributes:
        source: the file (or "frame") the value came from.
        row: 1-based row of the data (the header is not counted), or None.
        column: the column's name, or None.
        value: the offending value, or None.
        remedy: what to do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        source: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
        value: Any = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.source = None if source is None else str(source)
        self.row = row
        self.column = column
        self.value = value
        self.remedy = remedy
        places = [
            part
            for part in (
                self.source,
                None if row is None else f"row {row:,}",
                None if column is None else f"column {column!r}",
                None if value is None else f"value {_shorten(value)}",
            )
            if part is not None
        ]
        message = f"{', '.join(places)}: {problem}" if places else problem
        super().__init__(message if remedy is None else f"{message}. {remedy}")


def _shorten(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
