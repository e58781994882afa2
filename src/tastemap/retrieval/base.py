"""What every first-stage model has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.data.vocabulary import Id
from tastemap.errors import DataError, ParameterError
from tastemap.hyperparameters import Hyperparameters
from tastemap.kernels.topk import top_k
from tastemap.retrieval.recommender import Recommendations, Recommender
from tastemap.training.run import Run

__all__ = ["Retriever", "VectorRetriever", "check_given", "cosines", "reasons_of"]

# Scores of one tile of queries stay below this many bytes.
_TILE_BYTES = 64 << 20
_FEW = 32


def check_given(dataset: object, validation: object) -> None:
    """That a fit gets what it learns from, before hours go by.

    Raises:
        ParameterError: no data set, or a validation part that is not one of a split.
    """
    if not isinstance(dataset, Dataset):
        raise ParameterError(
            f"fit: give a tm.Dataset, not a {type(dataset).__name__}; tm.Dataset.from_frame(frame) "
            "and tm.Dataset.from_files(path) make one, and of a split it is split.train"
        )
    if validation is not None and not isinstance(validation, Holdout):
        raise ParameterError(
            "fit: validation is a part of a split, as in validation=split.validation, not a "
            f"{type(validation).__name__}"
        )


class Retriever(Hyperparameters, Recommender):
    """Stage one: scores every item for a query.

    A subclass writes `_fit`, `score` and the class variables below; what it learns stands in the
    attributes that `learned` names.
    """

    name: ClassVar[str]
    """The name on the command line."""
    paper: ClassVar[str]
    """Where the model was published."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Attributes (numpy arrays) that are saved and loaded."""
    zero_is_no_evidence: ClassVar[bool] = False
    """Whether a score of 0 says that nothing of the history speaks for an item."""

    def fit(
        self, dataset: Dataset, *, validation: Holdout | None = None, run: Run | None = None
    ) -> Self:
        """Learns from a data set.

        Args:
            dataset: what to learn from.
            validation: what early stopping looks at, where the model trains in epochs.
            run: where and how: device, progress, run folder, time budget.

        Raises:
            DataError: the data set has no events.
            ParameterError: it is no data set, the validation part is not of a split, or the run is
                none.
        """
        check_given(dataset, validation)
        run = Run.of(run)
        if dataset.n_events == 0:
            raise DataError(f"{type(self).__name__} cannot be fitted on no events")
        self._data = dataset
        self._fit(dataset, validation, run)
        return self

    @abstractmethod
    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        """Sets the attributes named by `learned`."""

    @abstractmethod
    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        """How well each item fits each query.

        Args:
            queries: [B].
            items: int32 [n], the item rows to score; None for all.

        Returns:
            float32 [B, n], by column the items given, or all item rows, with the unknown item's
            meaningless column 0. A query's scores do not depend on the others in the batch.
        """

    def knows(self, queries: Queries) -> NDArray[np.bool_]:
        """bool [B]: for which queries `score` is personal; the others get what is popular."""
        h = queries.histories
        known = np.concatenate([[0], np.cumsum(h.items > 0)])
        return known[h.offsets[1:]] > known[h.offsets[:-1]]

    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        k = min(k, len(self.items))
        shape = (len(queries), k)
        items, scores = np.zeros(shape, np.int32), np.empty(shape, np.float32)
        sources = np.zeros((len(queries), 1), np.uint8)
        for start, tile in queries.tiles(self.tile_size()):
            tile_scores, stranger = self.score_or_popularity(tile)
            stop = start + len(tile)
            sources[start:stop, 0] = stranger
            excluded = tile.excluded(exclude_seen)
            items[start:stop], scores[start:stop] = top_k(
                tile_scores, k, excluded=excluded, allowed=among
            )
        return Recommendations.from_padded(items, scores, sources, [self.name, "popularity"])

    def score_or_popularity(
        self, queries: Queries
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scores of all items, float32 [B, item rows], and which queries, bool [B], got popularity
        since the model knows nothing about them."""
        scores = self.score(queries)
        stranger = ~self.knows(queries)
        if stranger.any():
            scores = scores if scores.flags.writeable else scores.copy()
            scores[stranger] = self.popularity
        return scores, stranger

    def tile_size(self) -> int:
        """Queries to score at a time, so that a tile's scores fit `_TILE_BYTES`."""
        return int(np.clip(_TILE_BYTES // (4 * len(self.items)), 1, 4096))

    @property
    def popularity(self) -> NDArray[np.float32]:
        """Events of each item row in the training data, float32 [item rows]."""
        return self.data.item_counts.astype(np.float32)

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.score(Queries.of(Histories.from_lists(items[:, None])))

    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        return reasons_of([self], queries, recommendations)

    def strongest_evidence(
        self, history: NDArray[np.int32], items: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """For each item row [n] the item row of a history [h] that speaks most for it, or 0."""
        history = np.unique(history[history > 0])
        if len(history) == 0 or len(items) == 0:
            return np.zeros(len(items), np.int32)
        evidence = self.evidence(history, items)
        best = evidence.argmax(axis=0)
        return np.where(evidence[best, np.arange(len(items))] > 0, history[best], 0).astype(
            np.int32
        )

    def strongest_of(
        self,
        histories: Histories,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
    ) -> NDArray[np.int32]:
        """As `strongest_evidence` for many at once, int32 [n].

        Args:
            histories: of those who ask, [B].
            offsets, items: int64 [B+1] and int32 [n], what is shown to each.
        """
        found = np.zeros(len(items), np.int32)
        for row in range(len(histories)):
            here = slice(offsets[row], offsets[row + 1])
            found[here] = self.strongest_evidence(histories.items_of(row), items[here])
        return found

    def evidence(self, history: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """How much each item of a history [h] speaks for each item [n], float32 [h, n]."""
        return self.similarity(history)[:, items]

    def predict(
        self, users: Iterable[Id], items: Iterable[Id], times: Iterable[float] | None = None
    ) -> NDArray[np.float64]:
        """Ratings of pairs, in order, float64 [n], where the model has them.

        Args:
            users: n ids; unknown ones are rated as by a stranger.
            items: n ids; unknown ones are rated as an average item.
            times: n Unix seconds, for models that look at them.

        Raises:
            ParameterError: the model has no ratings, or the lengths differ.
        """
        user_rows = self.users.rows(list(users))
        item_rows = self.items.rows(list(items))
        if len(user_rows) != len(item_rows):
            raise ParameterError(
                f"predict: {len(user_rows)} users but {len(item_rows)} items; give pairs"
            )
        unique, place = np.unique(user_rows, return_inverse=True)
        at = None if times is None else np.asarray(list(times), np.float64)
        return self.predict_pairs(self.data.queries(unique), place, item_rows, at)

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Ratings, float64 [n], that query number `query_rows[i]` gives to item row `items[i]`.

        Raises:
            ParameterError: the model has no ratings.
        """
        raise ParameterError(
            f"{type(self).__name__} ranks items but does not predict ratings; "
            "MatrixFactorization(loss='mse') does"
        )

    # -- saving ---------------------------------------------------------------------------------

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What was learned, by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in self.learned}

    @classmethod
    def restored(
        cls,
        data: Dataset,
        hyperparameters: Mapping[str, Any],
        tensors: Mapping[str, NDArray[Any]],
    ) -> Self:
        """The model that `tensors` and `hyperparameter_values` were taken from."""
        model = cls(**hyperparameters)
        model._data = data
        model._restore(tensors)
        return model

    def _restore(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Takes what was learned from `tensors`; `data` is there."""
        for name in self.learned:
            setattr(self, name, tensors[name])

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the fitted model to a directory that `tastemap.load` reads.

        Raises:
            ReleaseError: something else is in the way.
        """
        from tastemap.retrieval.saved import save_model

        return save_model(self, Path(path), overwrite=overwrite)


class VectorRetriever(Retriever):
    """A model that lives on the map: the score is the dot product of two vectors."""

    @abstractmethod
    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        """The place of each query on the map, float32 [B, dim]."""

    @abstractmethod
    def item_vectors(self) -> NDArray[np.float32]:
        """The place of each item row on the map, float32 [item rows, dim]."""

    def score(
        self, queries: Queries, items: NDArray[np.int32] | None = None
    ) -> NDArray[np.float32]:
        vectors = self.item_vectors()
        if items is not None:
            vectors = vectors[items]
        asked = self.encode_queries(queries)
        if len(asked) <= _FEW:
            # What BLAS makes of few rows times many takes several times as long as the other way.
            return np.ascontiguousarray((vectors @ asked.T).T)
        scores: NDArray[np.float32] = asked @ vectors.T
        return scores

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine: with plain dot products long vectors, those of popular items, would be like all.
        return cosines(self.item_vectors(), items)


def reasons_of(
    retrievers: Sequence[Retriever], queries: Queries, recommendations: Recommendations
) -> NDArray[np.int32]:
    """As `Recommender.because`, where source i is retriever i; further sources give no reason."""
    reasons = np.zeros(len(recommendations.items), np.int32)
    for source, retriever in enumerate(retrievers):
        here = recommendations.sources == source
        running = np.concatenate([[0], np.cumsum(here)])
        reasons[here] = retriever.strongest_of(
            queries.histories, running[recommendations.offsets], recommendations.items[here]
        )
    return reasons


def cosines(vectors: NDArray[np.float32], rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """The cosine of some rows [h] of vectors [n, dim] with all, float32 [h, n]; 0 for a zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    cosine: NDArray[np.float32] = unit[rows] @ unit.T
    return cosine
