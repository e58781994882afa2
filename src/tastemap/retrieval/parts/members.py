"""Retrievers that are parts of another one, as they come back from disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.members import tensors_of_member
from tastemap.retrieval.base import Retriever

__all__ = ["restored_members"]


def restored_members(
    members: Iterable[tuple[Retriever, Dataset]], tensors: Mapping[str, NDArray[Any]]
) -> list[Retriever]:
    """Members, unfitted, each with the data set that it learned from, as `tensors_of` had them."""
    return [
        type(member).restored(
            data, member.hyperparameter_values(), tensors_of_member(tensors, number)
        )
        for number, (member, data) in enumerate(members)
    ]
