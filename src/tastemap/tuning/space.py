"""Which values a search tries, from what a model's hyper-parameters declare."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tastemap.errors import ParameterError
from tastemap.hyperparameters import Hyperparameter, Hyperparameters

__all__ = ["Choices", "Dimension", "Range", "dimension_of", "parse_dimension", "space_of"]


class Suggests(Protocol):
    """What a search asks for values: a trial of Optuna."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, tried by factors where `log`."""

    low: float
    high: float
    log: bool
    integer: bool

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' by factors' if self.log else ''}"

    def __contains__(self, value: Any) -> bool:
        return value is not None and self.low <= value <= self.high

    def suggest(self, trial: Suggests, name: str) -> int | float:
        """A value to try."""
        if self.integer:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        return min(max(_rounded(value), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """Some values, without an order."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join("none" if value is None else str(value) for value in self.values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def suggest(self, trial: Suggests, name: str) -> Any:
        """A value to try."""
        return trial.suggest_categorical(name, self.values)


Dimension = Range | Choices


def space_of(
    model: type[Hyperparameters],
    asked: Mapping[str, Any] | None = None,
    fixed: Collection[str] = (),
) -> dict[str, Dimension]:
    """What to search over, by name.

    Ranges around the defaults, for every hyper-parameter that can be searched and is neither fixed
    nor declared with `tuned=False`; `asked` adds and replaces.

    Args:
        model: whose hyper-parameters.
        asked: dimensions by name, each as `dimension_of` takes it.
        fixed: names that are not searched over.

    Raises:
        ParameterError: a name the model does not have, one that is both fixed and asked for, or a
            range that is none.
    """
    asked = asked or {}
    for name in fixed:
        model.hyperparameter(name)
        if name in asked:
            raise ParameterError(f"{name} is both fixed and searched over; leave one of them out")
    space: dict[str, Dimension] = {}
    for name in asked:
        model.hyperparameter(name)
    for name, declared in model.hyperparameters().items():
        if name in asked:
            space[name] = dimension_of(model, name, asked[name])
        elif name not in fixed and declared.tuned:
            found = _around_default(declared)
            if found is not None:
                space[name] = found
    return space


def dimension_of(model: type[Hyperparameters], name: str, given: Any) -> Dimension:
    """A dimension of a `(low, high)` tuple, a list of values, or a text as on the command line.

    Raises:
        ParameterError: it is none of these, or holds values that the model does not take.
    """
    if isinstance(given, (Range, Choices)):
        return given
    if isinstance(given, str):
        return parse_dimension(model, name, given)
    declared, owner = model.hyperparameter(name), model.__name__
    if isinstance(given, tuple) and len(given) == 2:
        low, high = (declared.check(owner, end) for end in given)
        return _range(declared, low, high)
    if isinstance(given, list) and given:
        return Choices(tuple(dict.fromkeys(declared.check(owner, value) for value in given)))
    raise ParameterError(
        f"space of {name}: give a tuple (low, high) or a list of values, not {given!r}"
    )


def parse_dimension(model: type[Hyperparameters], name: str, text: str) -> Dimension:
    """The dimension of a text such as "16..256" or "uniform,popularity".

    Raises:
        ParameterError: it is neither, or holds values that the model does not take.
    """
    declared, owner = model.hyperparameter(name), model.__name__
    low, dots, high = text.partition("..")
    if dots:
        return _range(declared, declared.parse(owner, low), declared.parse(owner, high))
    values = tuple(dict.fromkeys(declared.parse(owner, part) for part in text.split(",")))
    if len(values) < 2:
        raise ParameterError(
            f"{name}={text}: a search needs a range, as in {name}=LOW..HIGH, or several values, as "
            f"in {name}=A,B,C; one value is fixed by --set"
        )
    return Choices(values)


def _range(declared: Hyperparameter, low: Any, high: Any) -> Range:
    name = declared.name
    if declared.type not in (int, float) or low is None or high is None:
        raise ParameterError(f"{name} has no range; list its values, as in {name}=A,B,C")
    if not low < high:
        raise ParameterError(
            f"{name}: the range {low:g}..{high:g} is empty; the lower end is first"
        )
    if declared.log and low <= 0:
        raise ParameterError(
            f"{name} is searched by factors, so its range must begin above 0, not at {low:g}"
        )
    return Range(low, high, declared.log, declared.type is int)


def _around_default(declared: Hyperparameter) -> Dimension | None:
    """Sensible values to try; None where nothing says what they could be."""
    if declared.search is not None:
        return _range(declared, *declared.search)
    if declared.choices is not None or declared.type is bool:
        values = declared.choices or (False, True)
        return Choices((None, *values) if declared.optional else tuple(values))
    if declared.type is str or declared.default is None:
        return None
    default = declared.default
    if declared.log and default > 0:
        # What a model costs grows with its whole numbers: lengths, neighbours, rounds.
        low, high = (
            (default / 8, default * 4) if declared.type is int else (default / 10, 10 * default)
        )
    else:
        low, high = min(0.0, 4 * default), max(0.0, 4 * default)
    low, high = _within(declared, _rounded(low), _rounded(high))
    return Range(low, high, declared.log and low > 0, declared.type is int) if low < high else None


def _within(declared: Hyperparameter, low: float, high: float) -> tuple[float, float]:
    """The range cut to the bounds; an open end is kept a little away from its bound."""
    default = declared.default
    if declared.ge is not None:
        low = max(low, declared.ge)
    if declared.le is not None:
        high = min(high, declared.le)
    if declared.type is int:
        low = low if declared.gt is None else max(low, declared.gt + 1)
        high = high if declared.lt is None else min(high, declared.lt - 1)
        return int(low), int(high)
    if declared.gt is not None:
        low = max(low, declared.gt + _rounded((default - declared.gt) / 10))
    if declared.lt is not None:
        high = min(high, declared.lt - _rounded((declared.lt - default) / 10))
    return low, high


def _rounded(value: float) -> float:
    # Three digits are all that matters, and a recipe of them can be read.
    return float(f"{value:.3g}")
