"""New items made ready to be recommended: how well each fits, and who may see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tastemap.content.likeness import Likeness
from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.vocabulary import Vocabulary
from tastemap.errors import DataError, RuleError
from tastemap.online.catalogue import Catalogue, ItemCard
from tastemap.pipeline.pipeline import Pipeline
from tastemap.policy.caps import Cap
from tastemap.policy.policy import Policy
from tastemap.policy.rule import FilterRule
from tastemap.policy.rules import Rules
from tastemap.retrieval.base import Retriever, VectorRetriever

__all__ = ["Shelf", "cards_of", "fits"]

Items = Mapping[str, Mapping[str, Any]]
"""New items by id, with their attributes by column of the item table."""


@dataclass(frozen=True, eq=False)
class Shelf:
    """New items as they stood at one moment; it is replaced as a whole.

    An item's score for a query is the weighted mean of the scores of the 50 known items most like
    it. For a model on the map that is the dot product with the mean of their vectors.

    Attributes:
        ids: of the items, [n].
        cards: what is shown of them, [n].
        weights: float32 [n, item rows]; see `Likeness`.
        vectors: float32 [n, dim], the means of the neighbours' vectors; None where the retriever
            has none.
        nearest: the item row most like each, int32 [n]; 0 where none is.
        problem: why none may be shown, or None.
        left_out: items whose attributes do not fit the release's item table.
    """

    pipeline: Pipeline
    rules: Rules
    ids: tuple[str, ...]
    cards: tuple[ItemCard, ...]
    weights: csr_array
    vectors: NDArray[np.float32] | None
    nearest: NDArray[np.int32]
    policy: Policy | None
    problem: str | None
    left_out: int

    @classmethod
    def of(cls, pipeline: Pipeline, items: Items, likeness: Likeness) -> Self:
        """The shelf of new items under a pipeline's rules. It may take seconds for a large
        catalogue, and touches nothing that answers are made with."""
        data = pipeline.data
        good = {item: told for item, told in items.items() if fits(data, told)}
        new = _of_these(data, good)
        table = new.item_attributes()
        weights = likeness.weights(pl.DataFrame({"": good}) if table is None else table)
        retriever = _scoring(pipeline)
        vectors = None
        if isinstance(retriever, VectorRetriever):
            # Only the neighbours' rows are read.
            near = np.unique(weights.indices)
            vectors = (weights[:, near] @ retriever.item_vectors()[near]).astype(np.float32)
        policy, problem = None, None
        try:
            policy = _policy(pipeline, good)
        except RuleError as error:
            problem = f"no new item is shown, as a rule cannot be checked for it: {error}"
        starts = weights.indptr
        nearest = np.zeros(len(good), np.int32)
        for row in np.flatnonzero(np.diff(starts)):
            some = slice(starts[row], starts[row + 1])
            nearest[row] = weights.indices[some][weights.data[some].argmax()]
        catalogue = Catalogue(new)
        return cls(
            pipeline,
            pipeline.rules,
            tuple(good),
            tuple(catalogue.item(row) for row in range(1, len(good) + 1)),
            weights,
            vectors,
            nearest,
            policy,
            problem,
            len(items) - len(good),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def retriever(self) -> Retriever:
        """What scores the items: the first retriever with vectors, or the first."""
        return _scoring(self.pipeline)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.ids)}

    def neighbours(self, item: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The known items most like a new one, the most like first, as item rows [m], m at most 50,
        with their weights, which sum to 1. None where it is not here, or is like none."""
        place = self._places.get(item)
        if place is None:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        row = self.weights[[place]]
        order = np.argsort(-row.data, kind="stable")
        return row.indices[order].astype(np.int32), row.data[order]

    def score(self, queries: Queries) -> NDArray[np.float32]:
        """How well each item fits each query, float32 [B, n]. For one of whom the retriever knows
        nothing it is how popular the neighbours are."""
        retriever = self.retriever
        scores = np.empty((len(queries), len(self)), np.float32)
        for start, tile in queries.tiles(retriever.tile_size()):
            knows = retriever.knows(tile)
            some = np.flatnonzero(knows)
            if len(some):
                asked = tile.take(some)
                if self.vectors is not None:
                    assert isinstance(retriever, VectorRetriever)
                    found = retriever.encode_queries(asked) @ self.vectors.T
                else:
                    # All items and then some of them: for some a matrix model copies its matrix.
                    found = (self.weights @ retriever.score(asked).T).T
                scores[start + some] = found
            if not knows.all():
                scores[start + np.flatnonzero(~knows)] = self.weights @ retriever.popularity
        return np.nan_to_num(scores)

    def allowed(self, queries: Queries) -> NDArray[np.bool_]:
        """Which items the rules let each query see, bool [B, n]."""
        if self.problem is not None:
            return np.zeros((len(queries), len(self)), np.bool_)
        allowed = np.ones((len(queries), len(self)), np.bool_)
        if self.policy is not None:
            for each in self.policy.allowed(queries):
                if each.mask is not None:
                    allowed[each.rows] = each.mask[-len(self) :]
        return allowed

    def row(self, place: int) -> int:
        """The item row of a place on the shelf: they stand behind those of the release."""
        return len(self.pipeline.items) + place

    def first_under_caps(
        self, query: Queries, others: Sequence[int], wanted: Sequence[int]
    ) -> int | None:
        """The first of some items that caps let stand beside others, or None.

        Args:
            query: [1].
            others: item rows.
            wanted: places on the shelf, best first.
        """
        if self.policy is None or not self.policy.arranges:
            return next(iter(wanted), None)
        candidates = np.array([[*others, *map(self.row, wanted)]], np.int32)
        found = self.policy.arrange(candidates, len(others) + 1, query).items[0].tolist()
        mine = {self.row(place): place for place in wanted}
        return next((mine[row] for row in found if row in mine), None)


def fits(data: Dataset, attributes: Mapping[str, Any]) -> bool:
    """Whether the item table can hold these attributes."""
    try:
        data.item_of(attributes)
    except DataError:
        return False
    return True


def cards_of(data: Dataset, items: Items) -> list[ItemCard]:
    """What is shown of new items."""
    catalogue = Catalogue(_of_these(data, items))
    return [catalogue.item(row) for row in range(1, len(items) + 1)]


def _scoring(pipeline: Pipeline) -> Retriever:
    vectors = (each for each in pipeline.retrievers if isinstance(each, VectorRetriever))
    return next(vectors, pipeline.retrievers[0])


def _ids(data: Dataset, items: Items) -> pa.Array:
    return pa.array(list(items), pa.string()).cast(data.items.ids_array.type)


def _of_these(data: Dataset, items: Items) -> Dataset:
    """A data set of new items alone, without users."""
    told = {item: attributes for item, attributes in items.items() if fits(data, attributes)}
    return replace(
        _told(data, told),
        users=Vocabulary(),
        items=Vocabulary(_ids(data, items)),
        histories=Histories.empty(1),
        context=None,
        user_table=None,
    )


def _policy(pipeline: Pipeline, items: Items) -> Policy | None:
    """The filters and caps of the rules, over the release's items and then the new ones."""
    rules = {
        name: rule for name, rule in pipeline.rules.items() if isinstance(rule, (FilterRule, Cap))
    }
    if not rules or not items:
        return None
    data = pipeline.data
    ids = data.items.extend(_ids(data, items))
    return Rules(rules).on(replace(_told(data, items), items=ids))


def _told(data: Dataset, items: Items) -> Dataset:
    """With rows for the items of which something is said; the item table may know the others."""
    return data.with_item_rows({item: told for item, told in items.items() if told})
