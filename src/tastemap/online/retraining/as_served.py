"""A release as it answers now, without a service around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tastemap.data.queries import Queries
from tastemap.online.retraining.gathering import Gathered
from tastemap.pipeline.pipeline import Pipeline
from tastemap.retrieval.recommender import Recommendations, Recommender

__all__ = ["AsServed"]


class AsServed(Recommender):
    """A release as it answers now: what it learned, and the histories of newer data.

    Args:
        release: the pipeline that is served; its ranker is told of the later events.
        gathered: the release's data with what came later.
    """

    def __init__(self, release: Pipeline, gathered: Gathered) -> None:
        self.release = release
        self._data = gathered.data
        if release.stage is not None:
            h, later = gathered.data.histories, gathered.later
            items = np.where(h.items < len(release.items), h.items, 0)[later]
            release.add(items, h.times[later], h.values[later])

    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        known = None if among is None else among[: len(self.release.items)]
        return self.release.answer(self._known(queries), k, exclude_seen, known)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        alike = np.zeros((len(items), len(self.items)), np.float32)
        old = items < len(self.release.items)
        alike[old, : len(self.release.items)] = self.release.similarity(items[old])
        return alike

    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        return self.release.because(self._known(queries), recommendations)

    def _known(self, queries: Queries) -> Queries:
        """The queries as the release understands them."""
        h = queries.histories.known(len(self.release.items))
        kinds = np.where(h.kinds < len(self.release.data.kind_names), h.kinds, 0).astype(np.uint8)
        users = np.where(queries.users < len(self.release.users), queries.users, 0)
        return replace(queries, users=users.astype(np.int32), histories=replace(h, kinds=kinds))
