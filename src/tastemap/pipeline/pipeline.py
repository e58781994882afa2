"""Retrievers, filters and fallbacks joined: what a release holds and the service asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.impressions import Impressions, taken_and_shown
from tastemap.data.queries import Holdout, Queries
from tastemap.data.tombstones import without_users
from tastemap.errors import ParameterError
from tastemap.features.point_in_time import PointInTime
from tastemap.index import Index, index_for
from tastemap.index.exact import ExactIndex
from tastemap.pipeline.answering import Answering
from tastemap.pipeline.candidates import indices_of
from tastemap.pipeline.fallback import Fallback
from tastemap.pipeline.long_tail import LongTail
from tastemap.pipeline.ranking_stage import OutOfTime, RankingStage
from tastemap.pipeline.short_histories import ShortHistories
from tastemap.pipeline.stages import DIRECT, Stages
from tastemap.policy.policy import Policy
from tastemap.policy.rules import Rules
from tastemap.ranking.base import Ranker
from tastemap.retrieval.base import Retriever, VectorRetriever, check_given, reasons_of
from tastemap.retrieval.recommender import Recommendations, Recommender
from tastemap.training.run import Run

__all__ = ["Pipeline"]


class Pipeline(Recommender):
    """Candidates of one or more retrievers → filters → ranker → fallback → the top k.

    A ranker orders the candidates by all that is known at the moment of asking. Without one, one
    retriever's order and scores stay as they are, several are joined by reciprocal rank fusion,
    the sum of 1 / (60 + rank), and what is popular joins in where a history is short. An item's
    source is the retriever that ranked it highest. Places that no retriever fills, all of them for
    a stranger without a history, go to what is popular among users of the same profile, or overall.

    Args:
        retrievers: fitted, all on the same data set, or to be fitted by `fit`.
        candidates: how many each retriever proposes, where there are several or there is a ranker.
        ranker: to be fitted by `fit`, on what retrievers fitted on an earlier part propose for the
            later part.
        features: what the ranker looks at.
        rows: how the ranker's training rows are made.
        long_tail: which places of the ranker's lists go to what few people take.
        short_histories: how a short history is joined with what is popular, where there is no
            ranker.
        index: makes an empty index for so many items. Retrievers that score by vectors are asked
            through it where it is approximate, as `index_for` chooses for large catalogues; an
            exact one would find what they find themselves.
        indices: of fitted retrievers by name, where they are made already.
        rules: what may be recommended to whom, and how an answer is arranged. A filter holds inside
            the search, and for what is popular too, so that no answer is short because of it.

    Raises:
        ParameterError: no retriever, something else in place of one or of a ranker, two retrievers
            of one name, fitted on different data sets, an argument
            out of its range, or (`RuleError`) a rule that does not fit the data.
    """

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        *,
        candidates: int = 200,
        ranker: Ranker | None = None,
        features: PointInTime | None = None,
        rows: OutOfTime | None = None,
        long_tail: LongTail | None = None,
        short_histories: ShortHistories | None = None,
        index: Callable[[int], Index] = index_for,
        indices: Mapping[str, Index] | None = None,
        rules: Rules | None = None,
    ) -> None:
        _check_parts(retrievers, ranker)
        names = [retriever.name for retriever in retrievers]
        if not names or len(set(names)) != len(names):
            raise ParameterError(f"a pipeline needs retrievers of different names, got {names}")
        if candidates < 1:
            raise ParameterError(f"Pipeline: candidates must be at least 1, got {candidates}")
        self.retrievers = tuple(retrievers)
        self.candidates = candidates
        self.ranker = ranker
        self.features = PointInTime() if features is None else features
        self.rows = OutOfTime() if rows is None else rows
        self.long_tail = LongTail() if long_tail is None else long_tail
        self.short_histories = ShortHistories() if short_histories is None else short_histories
        self.index = index
        self.rules = Rules() if rules is None else rules
        self._policy: Policy | None = None  # the rules on the data
        self._indices: Mapping[str, Index] = {}
        self._stage: RankingStage | None = None  # what `fit` makes of the ranker
        fitted = [retriever._data for retriever in retrievers]
        if ranker is None and any(data is not None for data in fitted):
            self._join(indices)

    @classmethod
    def with_stage(
        cls,
        retrievers: Sequence[Retriever],
        stage: RankingStage,
        *,
        candidates: int,
        rows: OutOfTime,
        index: Callable[[int], Index] = index_for,
        indices: Mapping[str, Index] | None = None,
        rules: Rules | None = None,
    ) -> Self:
        """A pipeline of parts that are all fitted already."""
        pipeline = cls(
            retrievers,
            candidates=candidates,
            ranker=stage.ranker,
            features=stage.features,
            rows=rows,
            long_tail=stage.long_tail,
            index=index,
            rules=rules,
        )
        pipeline._stage = stage
        pipeline._join(indices)
        return pipeline

    def unfitted(self) -> Pipeline:
        """A pipeline of the same parts and hyper-parameters that has learned nothing."""
        return Pipeline(
            [each.unfitted() for each in self.retrievers],
            candidates=self.candidates,
            ranker=None if self.ranker is None else self.ranker.unfitted(),
            features=self.features.unfitted(),
            rows=self.rows,
            long_tail=self.long_tail,
            short_histories=self.short_histories,
            index=self.index,
            rules=self.rules,
        )

    def forget(self, users: NDArray[np.int32]) -> None:
        """Drops what some users (rows [n]) did and are; what was learned stays."""
        if len(users):
            self._data = without_users(self.data, users)
            for retriever in self.retrievers:
                retriever._data = self._data

    @property
    def stage(self) -> RankingStage | None:
        """The fitted ranker with its features, or None where there is none."""
        return self._stage

    @property
    def policy(self) -> Policy | None:
        """The rules at work; it counts what they do. None where there are none."""
        return self._policy

    def context_of(self, circumstances: Mapping[str, Any]) -> pl.DataFrame:
        """The context of one request, a row; it may say what events say, and what rules look at.

        Raises:
            DataError: there is no such column, or the value is not of its type.
        """
        more = {} if self._policy is None else self._policy.context_columns
        return self.data.context_of(circumstances, more)

    def obey(self, rules: Rules) -> None:
        """Takes these rules in place of its own.

        Raises:
            RuleError: a rule does not fit the data; the rules stay what they were.
        """
        self._policy = rules.on(self.data) if rules else None
        self.rules = rules

    def add(
        self, items: NDArray[np.int32], times: NDArray[np.float64], values: NDArray[np.float32]
    ) -> None:
        """Tells the ranker's features of everybody's events [m] after the training data, so that
        they know what is popular now. The histories of those who ask come with their queries."""
        if self._stage is not None:
            self._stage.features.add(items, times, values)

    def follow(self, items: NDArray[np.int32], takes: NDArray[np.float64]) -> None:
        """Tells what is popular now; see `Fallback.follow`. It may be called on any thread."""
        self._fallback.follow(items, takes)

    @property
    def indices(self) -> Mapping[str, Index]:
        """By name of a retriever the index that it is asked through; each has its recall."""
        return self._indices

    def searched(self, retriever: VectorRetriever) -> Index:
        """The index that a retriever is asked through, in which vectors of items may be replaced.
        It is made here where there is none: an exact one, by which answers stay what they are."""
        if retriever.name not in self._indices:
            rows = np.arange(1, len(self.items))
            index = ExactIndex().build(rows, retriever.item_vectors()[1:])
            # A new mapping: a request that is under way keeps the one that it began with.
            self._indices = {**self._indices, retriever.name: index}
        return self._indices[retriever.name]

    def _join(self, indices: Mapping[str, Index] | None = None) -> None:
        fitted = [retriever._data for retriever in self.retrievers]
        first = fitted[0]
        same = first is not None and all(
            data is not None
            and data.items == first.items
            and data.users == first.users
            and data.fingerprint == first.fingerprint
            for data in fitted
        )
        if not same or first is None:
            raise ParameterError("a pipeline's retrievers must all be fitted on the same data set")
        self._data = first
        self.obey(self.rules)
        self._fallback = Fallback.fit(first)
        self._indices = indices_of(self.retrievers, self.index) if indices is None else indices

    def fit(
        self,
        dataset: Dataset,
        *,
        validation: Holdout | None = None,
        impressions: Dataset | None = None,
        run: Run | None = None,
    ) -> Self:
        """Fits the ranker, where there is one, each retriever, and the fallback.

        Args:
            dataset: what to learn from. Its events of the kinds "impression" and "skip" are
                impressions where there are no others.
            validation: what retrievers look at for early stopping. A ranker and the retrievers
                that it learns from see nothing of it.
            impressions: a log of what users were shown, for the ranker: what was seen and not
                taken, and, by a context column "position", at which place. What was shown after
                the last event of `dataset` is not looked at.
            run: where and how: device, progress, run folder, time budget.
        """
        check_given(dataset, validation)
        run = Run.of(run)
        dataset, logged = taken_and_shown(dataset)
        if self.ranker is not None:
            shown = logged if impressions is None else impressions
            self._stage = self._fitted_stage(self.ranker, dataset, shown, run)
        for retriever in self.retrievers:
            retriever.fit(dataset, validation=validation, run=run)
        self._join()
        return self

    def fit_second_stage(
        self, *, impressions: Dataset | None = None, run: Run | None = None
    ) -> Self:
        """Fits the ranker, where there is one, and the fallback of retrievers that are fitted; with
        impressions as in `fit`.

        Raises:
            ParameterError: they are not all fitted on the same data set.
        """
        self._join()
        if self.ranker is not None:
            self._stage = self._fitted_stage(self.ranker, self.data, impressions, run)
        return self

    def _fitted_stage(
        self, ranker: Ranker, dataset: Dataset, impressions: Dataset | None, run: Run | None
    ) -> RankingStage:
        ranker.check_installed()
        shown = None if impressions is None else Impressions.of(impressions, dataset)
        train, held = self.rows.rows(
            dataset, self.retrievers, self.candidates, run, impressions=shown
        )
        return RankingStage.fit(
            ranker,
            self.features,
            dataset,
            train,
            held,
            least=self.rows.least,
            long_tail=self.long_tail,
            run=run,
        )

    @property
    def name(self) -> str:
        """The names of its retrievers, joined by "+", and of its ranker behind ">"."""
        names = "+".join(retriever.name for retriever in self.retrievers)
        return names if self.ranker is None else f"{names}>{self.ranker.name}"

    def answer(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool = True,
        among: NDArray[np.bool_] | None = None,
        *,
        stages: Stages = DIRECT,
    ) -> Recommendations:
        """As every recommender's, with what runs the stages: a retriever each, and "ranker"."""
        # First, since it is what says that nothing has been fitted yet.
        item_rows = len(self.data.items)
        answering = Answering(
            retrievers=self.retrievers,
            indices=self._indices,
            candidates=self.candidates,
            stage=self._stage,
            short_histories=self.short_histories,
            fallback=self._fallback,
            policy=self._policy,
            item_rows=item_rows,
            exclude_seen=exclude_seen,
            stages=stages,
        )
        return answering.answer(queries, k, among)

    def similar_rows(
        self, items: NDArray[np.int32], k: int, among: NDArray[np.bool_] | None = None
    ) -> Recommendations:
        """As every recommender's. Who asks is not known, so what any filter keeps from anybody is
        left out."""
        if self._policy is not None:
            among = self._policy.strictest(among)
        return super().similar_rows(items, k, among)

    def links(self, queries: Queries) -> list[str]:
        """What the answer to each query without a history goes by: "profile", where a retriever
        reads profiles or the fallback has a group of it, "context", or "popularity"."""
        groups = self._fallback.choose(queries)
        links = [self._fallback.links[group] for group in groups]
        for retriever in self.retrievers:
            for row in np.flatnonzero(retriever.knows(queries)):
                links[row] = "profile"
        return links

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return self.retrievers[0].similarity(items)

    def because(self, queries: Queries, recommendations: Recommendations) -> NDArray[np.int32]:
        return reasons_of(self.retrievers, queries, recommendations)

    def _frame(self, answers: Recommendations, whose: pl.Series) -> pl.DataFrame:
        return super()._frame(answers, whose).with_columns(answers.source_series())

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the fitted pipeline to a directory that `tastemap.load` reads.

        Raises:
            ReleaseError: something else is in the way.
        """
        from tastemap.pipeline.saved import save_pipeline

        return save_pipeline(self, Path(path), overwrite=overwrite)


def _check_parts(retrievers: object, ranker: object) -> None:
    """That each part is of its stage; a class, or a part of the other stage, is easily given."""
    whole = isinstance(retrievers, Sequence) and all(isinstance(r, Retriever) for r in retrievers)
    if not whole:
        raise ParameterError(
            f"Pipeline: retrievers must be a list of models, such as [tm.ALS()], got {retrievers!r}"
        )
    if ranker is not None and not isinstance(ranker, Ranker):
        raise ParameterError(
            f"Pipeline: ranker must be a ranker, such as tm.DCNv2(), got {ranker!r}"
        )
