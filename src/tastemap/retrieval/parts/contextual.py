"""What models that look at circumstances outside another model have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import ParameterError
from tastemap.hyperparameters import hyperparameter
from tastemap.members import parse_members, tensors_of
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.circumstances import chosen_columns
from tastemap.retrieval.parts.members import restored_members
from tastemap.retrieval.table import model_class

__all__ = ["Contextual"]


class Contextual(Retriever):
    """Another model, and the circumstances of events and requests beside it.

    The model is named by a text, so that the command line, recipes and saved models say it like any
    other hyper-parameter; where the text gives it no seed it takes this one's. Who asks without
    circumstances, or in some that the data do not have, gets the model's own answer.
    """

    model: str = hyperparameter(
        default="als", help="the model, its settings in brackets: als(factors=64, weight=10)"
    )
    columns: str = hyperparameter(
        default="", help="columns of the events' context, joined by commas; all where none is named"
    )
    seed: int = hyperparameter(default=0, help="of the model", ge=0, tuned=False)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        owner = type(self).__name__
        members = parse_members(self.model, owner)
        if len(members) != 1:
            raise ParameterError(f"{owner}: model must be one model, got {self.model!r}")
        self._member = members[0]
        self.everything = self.make_member()
        """The model that learned from all events."""

    def make_member(self) -> Retriever:
        """The model, not fitted."""
        return self._member.make(model_class, seed=self.seed)

    def named_columns(self, dataset: Dataset) -> list[str]:
        """The columns of a data set that `columns` names.

        Raises:
            ParameterError: there is none of a name.
        """
        return chosen_columns(dataset, self.columns, type(self).__name__)

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        return self.everything.knows(queries)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.everything.similarity(items)

    def evidence(self, history: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.everything.evidence(history, items)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return tensors_of([self.everything])

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        (self.everything,) = restored_members([(self.everything, self.data)], tensors)
