"""Several models as one: the weighted sum of their standardised scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.hyperparameters import hyperparameter
from tastemap.members import parse_members, tensors_of
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.parts.members import restored_members
from tastemap.retrieval.table import model_class
from tastemap.training.run import Run

__all__ = ["Blend"]


class Blend(Retriever):
    """Scores sum_m weight_m z_m, with z_m the scores of model m for the query, less their mean
    over all items and divided by their standard deviation.

    Standardising makes models comparable whose scores have nothing in common but their order
    (zero-mean unit-variance normalisation, Montague & Aslam 2001); models that err differently
    are better together than the best of them alone (Fox & Shaw 1994, Töscher, Jahrer & Bell 2009).
    Ratings, where all members predict them, are averaged with the same weights.

    The members are named by a text, so that the command line, recipes and saved models say them
    like any other hyper-parameter. Each member is fitted by itself; in Python the fitted ones are
    `members`. They take the blend's seed where the text gives them none.
    """

    name: ClassVar[str] = "blend"
    paper: ClassVar[str] = (
        "Montague & Aslam 2001, Relevance Score Normalization for Metasearch (CIKM); "
        "Töscher, Jahrer & Bell 2009, The BigChaos Solution to the Netflix Grand Prize"
    )

    models: str = hyperparameter(
        default="0.8 ialspp + 0.2 ease",
        help="members with their weights, their settings in brackets",
    )
    seed: int = hyperparameter(default=0, help="of the members", ge=0, tuned=False)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        said = parse_members(self.models)
        self.weights = [member.weight for member in said]
        self.members: Sequence[Retriever] = [
            member.make(model_class, seed=self.seed) for member in said
        ]

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        runs = run.parted([member.name for member in self.members])
        for member, own in zip(self.members, runs, strict=True):
            member.fit(dataset, validation=validation, run=own)

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        total = np.zeros((len(queries), len(self.items)), np.float32)
        for weight, member in zip(self.weights, self.members, strict=True):
            scores = member.score(queries)
            mean, deviation = _moments(scores)
            # A member that knows nothing of a query gives all items the same.
            scale = np.divide(weight, deviation, out=np.zeros_like(mean), where=deviation > 0)
            total += (scores - mean) * scale
        return total if items is None else total[:, items]

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = np.any([m.knows(queries) for m in self.members], axis=0)
        return known

    def evidence(self, history: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        query = Queries.of(Histories.from_lists([history]))
        total = np.zeros((len(history), len(items)), np.float32)
        for weight, member in zip(self.weights, self.members, strict=True):
            deviation = _moments(member.score(query))[1][0, 0]
            if deviation > 0:
                total += weight / deviation * member.evidence(history, items)
        return total

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        ratings = [m.predict_pairs(queries, query_rows, items, times) for m in self.members]
        mean: NDArray[np.float64] = np.average(ratings, axis=0, weights=self.weights)
        return mean

    def tensors(self) -> dict[str, NDArray[Any]]:
        return tensors_of(self.members)

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.members = restored_members([(each, self.data) for each in self.members], tensors)


def _moments(scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation over the known items, each float32 [B, 1]."""
    known = scores[:, 1:]
    return known.mean(axis=1, keepdims=True), known.std(axis=1, keepdims=True)
