"""Models that are parts of another one, named by a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.errors import ParameterError
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.table import model_class

__all__ = ["Member", "parse_members", "restored_members", "tensors_of"]

# "0.6 ialspp(factors=512, seed=1)": an optional weight, a model's name, its settings.
_MEMBER = re.compile(
    r"(?P<weight>[0-9.]+(?:e-?[0-9]+)?)?[ *]*(?P<name>\w+) *(?:\((?P<set>[^()]*)\))?"
)


@dataclass(frozen=True)
class Member:
    """One model of several, its weight, and which hyper-parameters were said, as texts."""

    weight: float
    model: str
    settings: Mapping[str, str]

    def make(self, seed: int) -> Retriever:
        """The model, not fitted."""
        cls = model_class(self.model)
        if "seed" in cls.hyperparameters() and "seed" not in self.settings:
            return cls.from_text({**self.settings, "seed": str(seed)})
        return cls.from_text(dict(self.settings))


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


def tensors_of(members: Sequence[Retriever]) -> dict[str, NDArray[Any]]:
    """What was learned by each, its names behind the number of the member."""
    return {
        f"{number}.{name}": array
        for number, member in enumerate(members)
        for name, array in member.tensors().items()
    }


def restored_members(
    members: Iterable[tuple[Retriever, Dataset]], tensors: Mapping[str, NDArray[Any]]
) -> list[Retriever]:
    """Members, unfitted, each with the data set that it learned from, as `tensors_of` had them."""
    return [
        type(member).restored(
            data,
            member.hyperparameter_values(),
            {
                name.removeprefix(f"{number}."): array
                for name, array in tensors.items()
                if name.startswith(f"{number}.")
            },
        )
        for number, (member, data) in enumerate(members)
    ]
