"""What all rules have in common: how one is declared, and for whom it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import RuleError, did_you_mean
from tastemap.policy.asking import Condition, Place

__all__ = ["Filter", "FilterRule", "Ids", "Rule", "Scalars"]


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _one_or_listed(value: Any) -> Any:
    return _listed(value) if isinstance(value, (list, tuple)) else (value,)


Ids = Annotated[tuple[str | int, ...], BeforeValidator(_listed)]
"""External ids, a list in TOML."""

Scalars = Annotated[tuple[str | int | float | bool, ...], BeforeValidator(_one_or_listed)]
"""Values of a column: a list, or one value alone."""


class Rule(BaseModel, ABC):
    """A rule as it is declared. Its keyword arguments are its keys in TOML.

    Attributes:
        momentary: whether what comes out may change from one moment to the next, by the clock or by
            what somebody sets, while release and query stay the same.
        when: by place such as "profile.country" or "context.device" the value, or the values, that
            a query must have there for the rule to hold; a query that does not say has none.

    Raises:
        RuleError: an unknown key, a missing one, a wrong type, or an impossible number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    kind: ClassVar[str]
    momentary: ClassVar[bool] = False

    when: Mapping[str, Scalars] = Field(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _understood(error.errors()[0], type(self)) from None

    def condition(self, data: Dataset) -> Condition:
        """For which queries the rule holds.

        Raises:
            RuleError: a place that is none, or does not fit the user table.
        """
        return Condition.of(self.when, data)

    def to_table(self) -> dict[str, Any]:
        """The rule as a table of TOML."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude_unset=True)}


class Filter(ABC):
    """A rule at work that says which items may come out."""

    @abstractmethod
    def groups(self, queries: Queries) -> NDArray[np.float64] | None:
        """[B, n]: queries of the same n numbers are a group, which may be shown the same whenever
        it asks; None where all queries are. No number is NaN."""

    @abstractmethod
    def mask(self, group: NDArray[np.float64]) -> NDArray[np.bool_]:
        """bool [item rows], what may come out for a group by its numbers [n]; those of a filter
        that has no groups are not looked at."""

    def places(self) -> tuple[Place, ...]:
        """Where it looks for numbers in a query."""
        return ()


class FilterRule(Rule):
    """A rule about which items may come out; it is applied inside the search."""

    @abstractmethod
    def on(self, data: Dataset) -> Filter:
        """The rule at work on a data set.

        Raises:
            RuleError: it does not fit the data.
        """


_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "mapping_type": "must be a table",
    "dict_type": "must be a table",
}


def _understood(flaw: Any, of: type[Rule]) -> RuleError:
    """The first thing that is wrong with a declaration, in our words."""
    where = [str(part) for part in flaw["loc"]]
    key = where[0] if where else ""
    keys = list(of.model_fields)
    if flaw["type"] == "extra_forbidden":
        hint = did_you_mean(key, keys)
        return RuleError(
            f"a rule of kind {of.kind!r} has no such key{hint}",
            key=key,
            remedy=f"Its keys are {', '.join(keys)}",
        )
    if flaw["type"] == "missing":
        return RuleError("the key is missing", key=key, remedy=f"A rule of kind {of.kind!r} has it")
    if not where:  # said by a rule's own check of several keys
        raised = flaw["ctx"]["error"]
        return (
            raised
            if isinstance(raised, RuleError)
            else RuleError(str(raised), remedy="Change the rule")
        )
    said = flaw["msg"].removeprefix("Input ").replace("should be", "must be")
    said = _EXPECTED.get(flaw["type"], said)
    help_ = of.model_fields[key].description if key in of.model_fields else None
    return RuleError(
        f"{said}, got {flaw['input']!r:.80}",
        key=key,
        remedy=f"It is {help_}" if help_ else "Change it",
    )
