"""Models that are parts of another one, named by a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.hyperparameters import Hyperparameters

__all__ = ["Member", "parse_members", "tensors_of", "tensors_of_member"]

# "0.6 ialspp(factors=512, seed=1)": an optional weight, a model's name, its settings.
_MEMBER = re.compile(
    r"(?P<weight>[0-9.]+(?:e-?[0-9]+)?)?[ *]*(?P<name>\w+) *(?:\((?P<set>[^()]*)\))?"
)
_Model = TypeVar("_Model", bound=Hyperparameters)


@dataclass(frozen=True)
class Member:
    """One model of several, its weight, and which hyper-parameters were said, as texts."""

    weight: float
    model: str
    settings: Mapping[str, str]

    def make(self, find: Callable[[str], type[_Model]], **shared: Any) -> _Model:
        """The model, not fitted.

        Args:
            find: gives the class of a name.
            shared: hyper-parameters of all members that have them, where the text says no other.
        """
        cls = find(self.model)
        known = {
            name: str(value) for name, value in shared.items() if name in cls.hyperparameters()
        }
        return cls.from_text({**known, **self.settings})


def parse_members(text: str, owner: str = "Blend") -> list[Member]:
    """The members that a text such as "0.6 ialspp(factors=512) + 0.4 ease" names.

    Raises:
        ParameterError: the text is not of this form, or a weight is 0.
    """
    members = []
    for part in re.split(r"\+(?![^()]*\))", text):
        found = _MEMBER.fullmatch(part.strip())
        settings = [pair.partition("=") for pair in ((found and found["set"]) or "").split(",")]
        settings = [pair for pair in settings if pair[0].strip()]
        if found is None or any(not equals for _, equals, _ in settings):
            raise ParameterError(
                f"{owner}: {part.strip()!r} is not a member; write models as "
                "'0.6 ialspp(factors=256) + 0.4 ease'"
            )
        try:
            weight = float(found["weight"] or 1)
        except ValueError:
            weight = 0.0
        if weight <= 0:
            raise ParameterError(f"{owner}: {part.strip()!r} needs a weight above 0")
        said = {name.strip(): value.strip() for name, _, value in settings}
        members.append(Member(weight, found["name"], said))
    return members


class _Learned(Protocol):
    def tensors(self) -> dict[str, NDArray[Any]]: ...


def tensors_of(members: Iterable[_Learned]) -> dict[str, NDArray[Any]]:
    """What was learned by each, its names behind the number of the member."""
    return {
        f"{number}.{name}": array
        for number, member in enumerate(members)
        for name, array in member.tensors().items()
    }


def tensors_of_member(tensors: Mapping[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    """What one member had learned, of what `tensors_of` gave."""
    behind = f"{number}."
    return {
        name.removeprefix(behind): array
        for name, array in tensors.items()
        if name.startswith(behind)
    }
