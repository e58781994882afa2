"""Typed, checked keyword arguments: what a model's options, recipes and manifests come from."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, dataclass_transform

from tastemap.errors import ParameterError, did_you_mean

__all__ = ["Hyperparameter", "Hyperparameters", "assigned_by_fit", "hyperparameter"]


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword argument of a model: its name, type, default, bounds and meaning.

    `log` says that a search over it should move by factors rather than by steps, `search` between
    which values, where the range around the default is not the right one, and `tuned` whether a
    search should look at it unasked: not where it says how long, in what steps or by which random
    numbers a model is trained, rather than which model it is.
    """

    name: str
    type: type
    optional: bool
    choices: tuple[str, ...] | None
    default: Any
    help: str
    ge: float | None
    gt: float | None
    le: float | None
    lt: float | None
    log: bool
    search: tuple[float, float] | None
    tuned: bool

    @property
    def type_name(self) -> str:
        if self.choices is not None:
            return " | ".join(self.choices)
        return self.type.__name__ + (" | none" if self.optional else "")

    @property
    def bounds(self) -> str:
        """The allowed range in words, "" where there is none."""
        signs = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)

    def check(self, owner: str, value: Any) -> Any:
        """The value in its declared type.

        Raises:
            ParameterError: wrong type, out of bounds or not among the choices.
        """

        def wrong(expected: str) -> ParameterError:
            return ParameterError(f"{owner}: {self.name} must be {expected}, got {value!r}")

        if value is None:
            if self.optional:
                return None
            raise wrong(self.type_name)
        if self.choices is not None:
            if value not in self.choices:
                raise wrong("one of " + ", ".join(repr(choice) for choice in self.choices))
            return value
        if self.type is bool:
            if not isinstance(value, bool):
                raise wrong("true or false")
            return value
        if self.type is str:
            if not isinstance(value, str):
                raise wrong("a string")
            return value
        try:
            number = float(value) if not isinstance(value, (bool, str)) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise wrong("a whole number" if self.type is int else "a finite number")
        if self.type is int and number != int(number):
            raise wrong("a whole number")
        too_low = (self.ge is not None and number < self.ge) or (
            self.gt is not None and number <= self.gt
        )
        too_high = (self.le is not None and number > self.le) or (
            self.lt is not None and number >= self.lt
        )
        if too_low or too_high:
            raise wrong(self.bounds)
        return self.type(number) if self.type is float else int(value)

    def parse(self, owner: str, text: str) -> Any:
        """The value of a text from a command line, checked as by `check`."""
        lowered = text.strip().lower()
        if self.optional and lowered in ("none", "null", ""):
            return None
        if self.choices is not None or self.type is str:
            return self.check(owner, text.strip())
        if self.type is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return self.check(owner, words.get(lowered, text))
        try:
            return self.check(owner, int(lowered) if self.type is int else float(lowered))
        except ValueError as error:
            if isinstance(error, ParameterError):
                raise
            kind = "a whole number" if self.type is int else "a number"
            raise ParameterError(f"{owner}: {self.name} must be {kind}, got {text!r}") from None


@dataclass(frozen=True)
class _Declaration:
    default: Any
    settings: dict[str, Any]


def hyperparameter(
    *,
    default: Any,
    help: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    log: bool = False,
    search: tuple[float, float] | None = None,
    tuned: bool = True,
) -> Any:
    """Declares a keyword argument of a model: its default, meaning, bounds and search range."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    searching = {"log": log, "search": search, "tuned": tuned}
    return _Declaration(default, {"help": help, **bounds, **searching})


_ASSIGNED_BY_FIT = object()


def assigned_by_fit(*, init: Literal[False] = False) -> Any:
    """Declares an attribute that `fit` assigns, in a class that has to say its type: without this a
    type checker takes it for a keyword argument."""
    return _ASSIGNED_BY_FIT


@dataclass_transform(
    kw_only_default=True, eq_default=False, field_specifiers=(hyperparameter, assigned_by_fit)
)
class Hyperparameters:
    """Base of what has hyper-parameters.

    A subclass declares `name: type = hyperparameter(default=1, help="what it does")`; the types
    are int, float, bool, str, Literal of strings, and any of them `| None`. What a model learns is
    annotated where `fit` assigns it, or declared by `assigned_by_fit`.

    Raises:
        ParameterError: at construction, naming the field that is wrong.
    """

    _declared: ClassVar[dict[str, Hyperparameter]] = {}
    _hyperparameters: ClassVar[dict[str, Hyperparameter]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = {}
        for name, value in list(vars(cls).items()):
            if isinstance(value, _Declaration):
                own[name] = _resolve(cls, name, value)
                setattr(cls, name, value.default)
            elif value is _ASSIGNED_BY_FIT:
                delattr(cls, name)
        cls._declared = own
        # What the class declares itself stands first, in place of what its bases say of it.
        found: dict[str, Hyperparameter] = {}
        for base in cls.__mro__:
            found |= vars(base).get("_declared", {}) | found
        cls._hyperparameters = found

    def __init__(self, **values: Any) -> None:
        owner = type(self).__name__
        for name in values:
            self.hyperparameter(name)
        for name, declared in self._hyperparameters.items():
            setattr(self, name, declared.check(owner, values.get(name, declared.default)))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.hyperparameter_values().items())
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def hyperparameters(cls) -> dict[str, Hyperparameter]:
        """The declared hyper-parameters by name, as declared; those of a base class stand last."""
        return dict(cls._hyperparameters)

    @classmethod
    def hyperparameter(cls, name: str) -> Hyperparameter:
        """One declared hyper-parameter.

        Raises:
            ParameterError: there is none of that name.
        """
        if name not in cls._hyperparameters:
            known = cls._hyperparameters
            raise ParameterError(
                f"{cls.__name__} has no hyper-parameter {name!r}{did_you_mean(name, known)} "
                f"(it has: {', '.join(known) or 'none'})"
            )
        return cls._hyperparameters[name]

    def hyperparameter_values(self) -> dict[str, Any]:
        """The values of this instance by name."""
        return {name: getattr(self, name) for name in self._hyperparameters}

    def unfitted(self) -> Self:
        """One of the same hyper-parameters that has learned nothing."""
        return type(self)(**self.hyperparameter_values())

    @classmethod
    def from_text(cls, settings: dict[str, str]) -> Self:
        """An instance from `name=text` pairs of a command line.

        Raises:
            ParameterError: an unknown name or a text that is not of the field's type and range.
        """
        return cls(
            **{
                name: cls.hyperparameter(name).parse(cls.__name__, text)
                for name, text in settings.items()
            }
        )


def _resolve(cls: type, name: str, declaration: _Declaration) -> Hyperparameter:
    hint = typing.get_type_hints(cls)[name]
    optional = False
    choices: tuple[str, ...] | None = None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        optional, hint = True, inner[0]
    if typing.get_origin(hint) is Literal:
        choices, hint = typing.get_args(hint), str
    return Hyperparameter(
        name=name,
        type=hint,
        optional=optional,
        choices=choices,
        default=declaration.default,
        **declaration.settings,
    )
