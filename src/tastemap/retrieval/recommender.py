"""`recommend` and `similar`, written once for models and pipelines alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories, offsets_of
from tastemap.data.queries import Queries, rows_of
from tastemap.data.vocabulary import Id, Vocabulary
from tastemap.errors import NotFittedError, ParameterError
from tastemap.kernels.topk import top_k

__all__ = ["Recommendations", "Recommender", "rows_of_items"]

MAX_K = 10_000
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Recommendations:
    """What comes out, a ragged row for each query, best first.

    Attributes:
        offsets: int64 [B+1]; row i is the slice offsets[i]:offsets[i+1] of the other arrays.
        items: int32 [m], item rows, never 0.
        scores: float32 [m], comparable within a row and source only; falling within a row, except
            where a long tail or rules arrange it. 0 for a pinned item that no model proposed.
        sources: uint8 [m], positions in `source_names`: where each item came from.
        source_names: names of models, "popularity", "popularity:…" of a profile, or "pinned".
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    sources: NDArray[np.uint8]
    source_names: tuple[str, ...]

    @classmethod
    def from_padded(
        cls,
        items: NDArray[np.int32],
        scores: NDArray[np.float32],
        sources: NDArray[np.uint8],
        source_names: Sequence[str],
    ) -> Recommendations:
        """From arrays [B, k] whose rows end with item 0 where fewer than k are left.

        `sources` is [B, k], or [B, 1] where all of a row come from one.
        """
        kept = items > 0
        return cls(
            offsets_of(kept.sum(axis=1).astype(np.int64)),
            items[kept],
            scores[kept],
            np.broadcast_to(sources, items.shape)[kept],
            tuple(source_names),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Items of each row, int64 [B]."""
        return self.offsets[1:] - self.offsets[:-1]

    def padded(self, k: int) -> NDArray[np.int32]:
        """The item rows as int32 [B, k], with 0 where a row has fewer."""
        out = np.zeros((len(self), k), np.int32)
        counts = self.counts
        rows = np.repeat(np.arange(len(self)), counts)
        places = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], counts)
        kept = places < k
        out[rows[kept], places[kept]] = self.items[kept]
        return out

    def to_frame(self, users: pl.Series, items: Vocabulary) -> pl.DataFrame:
        """Columns user, item, rank (from 1), score; `users` [B] says whose each row is."""
        counts = self.counts
        rows = np.repeat(np.arange(len(self)), counts)
        rank = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], counts) + 1
        return pl.DataFrame(
            {
                "user": users.gather(rows),
                "item": pl.Series(items.take(self.items)),
                "rank": pl.Series(rank, dtype=pl.Int32),
                "score": self.scores,
            }
        )

    def source_series(self) -> pl.Series:
        """The source of each item by name."""
        names = np.asarray(self.source_names, dtype=object)
        return pl.Series("source", names[self.sources], dtype=pl.Utf8)


class Recommender(ABC):
    """What can be asked for recommendations: a fitted model, or a pipeline.

    Attributes:
        data: the data set it was fitted on; its vocabularies and histories answer for known users.
    """

    _data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        if self._data is None:
            raise NotFittedError(f"{type(self).__name__} has learned nothing yet: call fit(data)")
        return self._data

    @property
    def users(self) -> Vocabulary:
        """The users it knows."""
        return self.data.users

    @property
    def items(self) -> Vocabulary:
        """The items it can recommend."""
        return self.data.items

    @property
    def histories(self) -> Histories:
        """What each user row did, up to the end of the training data."""
        return self.data.histories

    @abstractmethod
    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
    ) -> Recommendations:
        """The best k items for each query, in rows.

        Args:
            queries: [B].
            k: items for each query; fewer come where fewer are left.
            exclude_seen: leave out the items of a query's history.
            among: bool [item rows], the items that may come out; None for all.
        """

    @abstractmethod
    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """How alike each of some item rows [h] is to every item, float32 [h, item rows]."""

    @abstractmethod
    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        """For each recommended item, int32 [m], the item row of the query's history that speaks
        most for it; 0 where none does."""

    def recommend(
        self,
        users: Iterable[Id] | None = None,
        *,
        histories: Iterable[Sequence[Id]] | None = None,
        queries: Queries | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        among: Iterable[Id] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> pl.DataFrame:
        """The best k items for each user, history or query.

        Args:
            users: ids; an unknown one is answered like a stranger without a history.
            histories: for each stranger the ids of the items they liked, oldest first; each counts
                as an event of the data's `liking_value`.
            queries: prepared queries. Just one of the three is given.
            k: items for each, 1 to 10,000.
            exclude_seen: leave out what is in the history already.
            among: only recommend of these items.
            context: the circumstances in which all of them ask, values of columns that the events'
                context has, such as {"hour": "morning"}; those of `queries` where it is None.

        Returns:
            A frame: user (the id asked for; the row's number for histories and queries), item,
            rank (from 1), score.

        Raises:
            ParameterError: not just one of the three, k out of range, or ids given as one string.
            UnknownIdError: an item of `histories` or `among` is not in the vocabulary.
            DataError: `context` names a column that there is not, or a value of another type.
        """
        given = [part for part in (users, histories, queries) if part is not None]
        if len(given) != 1:
            raise ParameterError("recommend: give just one of users=, histories= and queries=")
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= MAX_K:
            raise ParameterError(
                f"recommend: k must be a whole number from 1 to {MAX_K:,}, got {k!r}"
            )
        if users is not None:
            asked = _listed(users, "users")
            queries = self.data.queries(self.users.rows(asked))
            whose = pl.Series(
                asked if asked else [], dtype=None if asked else pl.Utf8, strict=False
            )
        elif histories is not None:
            rows = [
                rows_of_items(self.items, history, "histories")
                for history in _listed(histories, "histories")
            ]
            queries = Queries.of(Histories.from_lists(rows, values=self.data.liking_value))
            whose = pl.Series(np.arange(len(rows)))
        else:
            assert queries is not None
            whose = pl.Series(np.arange(len(queries)))
        if context is not None:
            everybody = rows_of(self.context_of(context), np.zeros(len(queries), np.int64))
            queries = replace(queries, context=everybody)
        allowed = None if among is None else self.mask(among)
        return self._frame(self.answer(queries, int(k), exclude_seen, allowed), whose)

    def context_of(self, circumstances: Mapping[str, Any]) -> pl.DataFrame:
        """The context of one request, a row; see `Dataset.context_of`."""
        return self.data.context_of(circumstances)

    def _frame(self, answers: Recommendations, whose: pl.Series) -> pl.DataFrame:
        return answers.to_frame(whose, self.items)

    def mask(self, items: Iterable[Id]) -> NDArray[np.bool_]:
        """bool [item rows]: True for these ids.

        Raises:
            UnknownIdError: an item is not in the vocabulary.
        """
        allowed = np.zeros(len(self.items), np.bool_)
        allowed[rows_of_items(self.items, items, "among")] = True
        return allowed

    def similar(self, items: Iterable[Id], k: int = 10) -> pl.DataFrame:
        """The k items most like each of some items.

        Returns:
            A frame: item (the id asked for), similar (an id), rank (from 1), score.

        Raises:
            UnknownIdError: an item is not in the vocabulary.
        """
        asked = _listed(items, "items")
        answers = self.similar_rows(rows_of_items(self.items, asked, "items"), k)
        frame = answers.to_frame(pl.Series(asked, strict=False), self.items)
        return frame.rename({"item": "similar", "user": "item"})

    def similar_rows(
        self, items: NDArray[np.int32], k: int, among: NDArray[np.bool_] | None = None
    ) -> Recommendations:
        """As `similar`, for item rows [h]; `among` is that of `answer`."""
        if not 1 <= k <= MAX_K:
            raise ParameterError(f"similar: k must be from 1 to {MAX_K:,}, got {k!r}")
        itself = Histories.from_lists(items[:, None])
        best, scores = top_k(
            self.similarity(items), min(k, len(self.items)), excluded=itself, allowed=among
        )
        none = np.zeros((len(items), 1), np.uint8)
        return Recommendations.from_padded(best, scores, none, ["similar"])


def rows_of_items(vocabulary: Vocabulary, ids: Iterable[Id], what: str) -> NDArray[np.int32]:
    """Item rows of ids that must all be known."""
    return vocabulary.known_rows(_listed(ids, what), "item")


def _listed(ids: Iterable[T], what: str) -> list[T]:
    # A lone string is iterable too, and would be taken for a list of one-letter ids.
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise ParameterError(f"{what} must be a list of ids, got {ids!r}")
    listed: list[T] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    return listed
