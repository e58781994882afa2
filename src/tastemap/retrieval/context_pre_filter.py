"""Pre-filtering: for each set of circumstances a model that learned from its events alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, ranges
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.members import tensors_of
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.circumstances import Circumstances, events_among
from tastemap.retrieval.parts.contextual import Contextual
from tastemap.retrieval.parts.members import restored_members
from tastemap.training.run import Run

__all__ = ["ContextPreFilter"]

_NAMES = "circumstances"


class ContextPreFilter(Contextual):
    """For each combination of values of the columns a model of its own, trained on the events of
    these circumstances and asked about the part of the history that is of them (contextual
    pre-filtering, Adomavicius et al. 2005; such parts are the micro-profiles of Baltrunas &
    Amatriain 2009).

    A combination that fewer than `least` events have has no model of its own, and an asker with
    fewer than `own` events in it is not asked about by it: then the model that learned from
    everything answers for the whole history. The circumstances of a history are those of the
    training data's events of the same user, item and time; where these hold no such event, since it
    is newer or a stranger's, it counts in all circumstances.
    """

    name: ClassVar[str] = "contextprefilter"
    paper: ClassVar[str] = (
        "Adomavicius et al. 2005, Incorporating contextual information in recommender systems "
        "using a multidimensional approach (TOIS); Baltrunas & Amatriain 2009, Towards "
        "Time-Dependant Recommendation based on Implicit Feedback (CARS)"
    )

    least: int = hyperparameter(
        default=1000, help="events in circumstances that have a model of their own", ge=1, log=True
    )
    own: int = hyperparameter(
        default=5, help="events of a history in them from which that model answers", ge=1, log=True
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.circumstances: list[tuple[str, ...]] = []
        """The values of the columns that have a model of their own."""
        self.members: list[Retriever] = []
        """These models."""

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        self._told = told = Circumstances(dataset, self.named_columns(dataset))
        some, counts = np.unique(told.of_events, axis=0, return_counts=True)
        enough = some[(counts >= self.least) & (some > 0).all(axis=1) & (some.shape[1] > 0)]
        self._tell_apart([told.labels(codes) for codes in enough])
        members = self._members_with_data()
        runs = run.parted([member.name for member, _ in members])
        for (member, data), own in zip(members, runs, strict=True):
            member.fit(data, validation=validation, run=own)

    def _tell_apart(self, circumstances: list[tuple[str, ...]]) -> None:
        self.circumstances = circumstances
        self.members = [self.make_member() for _ in circumstances]
        self._known = self.data, self._places(self._told.of_events)

    @property
    def _of_events(self) -> NDArray[np.int64]:
        """The member, int64 [events], for each event of the data; -1 for none."""
        if self._known[0] is not self.data:  # somebody was forgotten
            codes = self._told.of(self.data.context, self.data.n_events)
            self._known = self.data, self._places(codes)
        return self._known[1]

    def _places(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The member, int64 [n], for some values of the columns [n, columns]; -1 for none."""
        places = {values: place for place, values in enumerate(self.circumstances)}
        some, which = np.unique(codes, axis=0, return_inverse=True)
        found = [places.get(self._told.labels(each), -1) for each in some]
        return np.array(found, np.int64)[which.ravel()]

    def _members_with_data(self) -> list[tuple[Retriever, Dataset]]:
        parts = [self.data.with_events(self._of_events == n) for n in range(len(self.members))]
        return [(self.everything, self.data), *zip(self.members, parts, strict=True)]

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        place = self._places(self._told.of(queries.context, len(queries)))
        if (place < 0).all():
            return self.everything.score(queries, items)
        n = len(self.items) if items is None else len(items)
        scores = np.empty((len(queries), n), np.float32)
        parts = self._parts_of_histories(queries, place)
        place = np.where(parts.counts < self.own, -1, place)
        for member in np.unique(place):
            rows = np.flatnonzero(place == member)
            asked = queries.take(rows)
            if member < 0:
                scores[rows] = self.everything.score(asked, items)
            else:
                asked = replace(asked, histories=parts.take(rows))
                scores[rows] = self.members[member].score(asked, items)
        return scores

    def _parts_of_histories(self, queries: Queries, place: NDArray[np.int64]) -> Histories:
        """The events of each history that are of its query's circumstances, or of unknown ones."""
        h, theirs = queries.histories, self.data.histories
        counts = theirs.counts[queries.users]
        events = ranges(theirs.offsets[queries.users], counts)
        alike = self._of_events[events] == np.repeat(place, counts)
        same, known = events_among(h, theirs.take(queries.users), alike)
        return h.select((same | ~known) & (h.items > 0))

    def tensors(self) -> dict[str, NDArray[Any]]:
        names = np.frombuffer(json.dumps(self.circumstances).encode(), np.uint8)
        return {**tensors_of([self.everything, *self.members]), _NAMES: names}

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        names = json.loads(tensors[_NAMES].tobytes())
        self._told = Circumstances(self.data, self.named_columns(self.data))
        self._tell_apart([tuple(each) for each in names])
        found = restored_members(self._members_with_data(), tensors)
        self.everything, self.members = found[0], found[1:]
