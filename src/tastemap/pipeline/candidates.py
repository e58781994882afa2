"""What the retrievers propose, each by its own scores or through an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.data.queries import Queries
from tastemap.index import Index
from tastemap.pipeline.stages import DIRECT, StageError, Stages
from tastemap.retrieval.base import Retriever, VectorRetriever
from tastemap.retrieval.recommender import Recommendations

__all__ = ["best_of", "candidates_of", "indices_of"]

# Users whose questions the recall of an index is measured with.
_ASKED = 200


def candidates_of(
    retrievers: Sequence[Retriever],
    queries: Queries,
    depth: int,
    exclude_seen: bool = True,
    among: NDArray[np.bool_] | None = None,
    indices: Mapping[str, Index] | None = None,
    stages: Stages = DIRECT,
) -> Candidates:
    """The best `depth` items of each retriever for queries about which it knows something; those
    of a retriever that `indices` names through its index. Each is a stage of its name, and one
    that fails proposes nothing."""
    return Candidates.join(
        [
            best_of(retriever, queries, depth, exclude_seen, among, indices, stages)
            for retriever in retrievers
        ]
    )


def best_of(
    retriever: Retriever,
    queries: Queries,
    depth: int,
    exclude_seen: bool = True,
    among: NDArray[np.bool_] | None = None,
    indices: Mapping[str, Index] | None = None,
    stages: Stages = DIRECT,
) -> Candidates:
    """What one retriever proposes, best first; the arguments are those of `candidates_of`."""
    index = None if indices is None else indices.get(retriever.name)
    try:
        return stages.run(
            retriever.name, _proposed, retriever, index, queries, depth, exclude_seen, among
        )
    except StageError:
        nothing, none = np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int32)
        return Candidates.of_source(retriever.name, nothing, none, none.astype(np.float32))


def _proposed(
    retriever: Retriever,
    index: Index | None,
    queries: Queries,
    depth: int,
    exclude_seen: bool,
    among: NDArray[np.bool_] | None,
) -> Candidates:
    if index is None:
        found = retriever.answer(queries, depth, exclude_seen, among)
    else:
        assert isinstance(retriever, VectorRetriever)
        found = _through(index, retriever, queries, depth, exclude_seen, among)
    proposed = Candidates.of_source(retriever.name, found.offsets, found.items, found.scores)
    # Source 1 of a model is its own popularity; the fallback knows the profile too.
    kept = found.sources == 0
    if retriever.zero_is_no_evidence:
        kept &= found.scores > 0
    return proposed if kept.all() else proposed.select(kept)


def indices_of(retrievers: Sequence[Retriever], make: Callable[[int], Index]) -> dict[str, Index]:
    """By name of a fitted retriever an index over its item vectors, where it has them and `make`
    gives an approximate one: of what an exact one would find, the retriever's own answers are."""
    indices = {}
    for retriever in retrievers:
        if not isinstance(retriever, VectorRetriever):
            continue
        index = make(len(retriever.items) - 1)
        if index.name == "exact":
            continue
        users = np.flatnonzero(retriever.histories.counts).astype(np.int32)
        some = np.random.default_rng(0).permutation(users)[:_ASKED]
        asked = retriever.data.queries(np.sort(some))
        vectors = retriever.encode_queries(asked.take(np.flatnonzero(retriever.knows(asked))))
        rows = np.arange(1, len(retriever.items))
        indices[retriever.name] = index.build(rows, retriever.item_vectors()[1:], queries=vectors)
    return indices


def _through(
    index: Index,
    retriever: VectorRetriever,
    queries: Queries,
    depth: int,
    exclude_seen: bool,
    among: NDArray[np.bool_] | None,
) -> Recommendations:
    """What `retriever.answer` gives, for the queries that the retriever knows something about."""
    items = np.zeros((len(queries), depth), np.int32)
    scores = np.zeros((len(queries), depth), np.float32)
    known = np.flatnonzero(retriever.knows(queries))
    if len(known):
        asked = queries if len(known) == len(queries) else queries.take(known)
        items[known], scores[known] = index.search(
            retriever.encode_queries(asked),
            depth,
            allowed=among,
            excluded=asked.excluded(exclude_seen),
        )
    source = np.zeros((len(queries), 1), np.uint8)
    return Recommendations.from_padded(items, scores, source, [retriever.name])
