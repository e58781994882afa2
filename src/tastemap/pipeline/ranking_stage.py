"""The second stage of a pipeline: a ranker over what the retrievers propose, and its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tastemap.data.candidates import Candidates
from tastemap.data.dataset import Dataset
from tastemap.data.impressions import Impressions
from tastemap.data.moments import Moments
from tastemap.data.queries import Queries
from tastemap.errors import DataError
from tastemap.features.batch import FeatureBatch
from tastemap.features.point_in_time import PointInTime
from tastemap.features.requests import RequestFeatures
from tastemap.hyperparameters import Hyperparameters, hyperparameter
from tastemap.pipeline.candidates import candidates_of
from tastemap.pipeline.long_tail import LongTail
from tastemap.ranking.base import Ranker
from tastemap.retrieval.base import Retriever
from tastemap.training.run import Run

__all__ = ["OutOfTime", "RankingStage", "Shown"]

# So many candidates are looked at together. What they share is worked on once, and kept meanwhile.
_TILE = 1 << 14


@dataclass(frozen=True, eq=False)
class Shown:
    """What stage one would have shown at some moments, and what was then chosen.

    Attributes:
        moments: [B].
        candidates: [B].
        labels: float32 [m], 1 where the candidate is among what the user chose later.
        positions: int64 [m], the place, from 1, at which the candidate was in truth shown, 0 where
            that is not known; None where it is known of none.
    """

    moments: Moments
    candidates: Candidates
    labels: NDArray[np.float32]
    positions: NDArray[np.int64] | None = None

    def of_users(self, chosen: NDArray[np.bool_]) -> Shown:
        """The moments where `chosen` (bool [B]) holds."""
        rows = np.flatnonzero(chosen)
        kept = np.repeat(chosen, self.candidates.counts)
        return Shown(
            self.moments.take(rows),
            self.candidates.take(rows),
            self.labels[kept],
            None if self.positions is None else self.positions[kept],
        )


class OutOfTime(Hyperparameters):
    """How the training rows of a ranker are made, so that it learns from what it will see.

    The retrievers are fitted on the events before a moment, and asked about the users who did
    something from then on, after what each had done until then: at the moments before which they
    had paused longest, since people ask when they come, more than between two clicks. What a user
    took next is positive where it was proposed, and of the other candidates a random part is
    negative. So no retriever has seen an answer, as it has not when the ranker is at work.

    Next is a few events (`horizon`): with all that a user took at any later time half of what was
    proposed to the busiest would be positive, and a ranker would learn little but what is popular.

    Where it was logged what users were shown, they are also asked at moments at which they took
    something of it. What they saw there and passed over is negative before anything else is, and
    the places at which things stood are known to the ranker as it learns.
    """

    share: float = hyperparameter(
        default=0.2, gt=0, lt=1, help="share of the events, the last ones, that are foretold"
    )
    moments: int = hyperparameter(
        default=2, ge=1, help="moments of each user, and as many at which something was shown"
    )
    horizon: int = hyperparameter(
        default=20, ge=1, help="events after a moment that are what a user took next", log=True
    )
    limit: int = hyperparameter(
        default=20_000, ge=2, help="moments of either sort in all; more are drawn from",
        tuned=False,
    )  # fmt: skip
    negatives: int = hyperparameter(default=50, ge=1, help="negatives of each moment")
    least: int = hyperparameter(
        default=20, ge=1, help="moments at which a user, an item or a category has to occur to be "
        "told from the unknown", log=True,
    )  # fmt: skip
    held_out: float = hyperparameter(
        default=0.1, gt=0, lt=1, help="share of the users that early stopping looks at"
    )
    repeats: bool = hyperparameter(
        default=False, help="propose what a user took before too, as where seen items are not left "
        "out of the answers"
    )  # fmt: skip
    seed: int = hyperparameter(default=0, ge=0, help="of the random choices", tuned=False)

    def check(self, dataset: Dataset) -> None:
        """Whether rows can be made of a data set, which is known before anything is trained.

        Raises:
            DataError: it has no times.
        """
        if not dataset.has_times:
            raise DataError(
                "a ranker learns from what came after the retrievers' training, and this data set "
                "has no times",
                remedy="Map a time column",
            )

    def rows(
        self,
        dataset: Dataset,
        retrievers: Sequence[Retriever],
        depth: int,
        run: Run | None = None,
        *,
        impressions: Impressions | None = None,
    ) -> tuple[Shown, Shown]:
        """Rows to train on, and rows of other users that early stopping looks at.

        Args:
            dataset: what may be learned from.
            retrievers: unfitted or not; others with the same hyper-parameters are fitted.
            depth: candidates of each.
            impressions: what users of the data set were shown.

        Raises:
            DataError: the data set has no times, or nothing is left to learn from.
        """
        h = dataset.histories
        self.check(dataset)
        boundary = np.quantile(h.times, 1 - self.share, method="nearest")
        earlier = h.times < boundary
        if not earlier.any() or earlier.all():
            raise DataError("all events are of one time, so none is left to foretell")
        before = [each.unfitted() for each in retrievers]
        for retriever in before:
            retriever.fit(dataset.with_events(earlier), run=run)
        if impressions is not None:
            late = impressions.moments.as_of >= boundary
            impressions = impressions.take(np.flatnonzero(late))
        return self._shown(dataset, np.flatnonzero(~earlier), before, depth, impressions)

    def _shown(
        self,
        dataset: Dataset,
        events: NDArray[np.int64],
        retrievers: Sequence[Retriever],
        depth: int,
        impressions: Impressions | None,
    ) -> tuple[Shown, Shown]:
        """Rows of moments before some events, with what fitted retrievers propose there, and of
        requests with what they were answered with too."""
        rng = np.random.default_rng(self.seed)
        asked = self._asked(dataset, events, rng)
        seen = None if impressions is None else self._answered(impressions, rng)
        if seen is not None:
            asked = asked.followed_by(seen.moments)
        proposed = candidates_of(retrievers, asked.queries(), depth, not self.repeats)
        positions = None
        if seen is not None:
            proposed, was_seen, positions = _with_seen(proposed, seen)
        chosen = _chosen_next(asked, proposed.rows_of_queries(), proposed.items, self.horizon)
        order = rng.random(len(chosen))
        if seen is not None:
            order[was_seen] -= 1.0
        order[chosen] = -2.0
        shown_at_most = _positives(proposed, chosen) + self.negatives
        kept = chosen | (_places(proposed, order) < shown_at_most[proposed.rows_of_queries()])
        shown = Shown(
            asked,
            proposed.select(kept),
            chosen[kept].astype(np.float32),
            None if positions is None or not positions.any() else positions[kept],
        )
        some = _positives(shown.candidates, shown.labels > 0) > 0
        held = rng.random(len(dataset.users))[asked.users] < self.held_out
        if not (some & held).any() or not (some & ~held).any():
            raise DataError(
                "the retrievers found hardly anything of what users chose later, so a ranker has "
                "nothing to learn from",
                remedy="Give more events, more candidates, or a larger share to foretell",
            )
        return shown.of_users(some & ~held), shown.of_users(some & held)

    def _asked(
        self, dataset: Dataset, events: NDArray[np.int64], rng: np.random.Generator
    ) -> Moments:
        """The moments before some of the events of each user, one for all of a time."""
        moments = Moments.before_events(dataset, events)
        first = np.ones(len(moments), np.bool_)
        first[1:] = (moments.stop[1:] != moments.stop[:-1]) | (
            moments.users[1:] != moments.users[:-1]
        )
        moments = moments.take(np.flatnonzero(first & (moments.stop > moments.start)))
        pauses = moments.as_of - moments.histories.times[moments.stop - 1]
        order = np.lexsort((-pauses, moments.users))
        users = moments.users[order]
        starts = np.searchsorted(users, users)
        kept = order[np.arange(len(order)) - starts < self.moments]
        if len(kept) > self.limit:
            kept = rng.choice(kept, self.limit, replace=False)
        return moments.take(np.sort(kept))

    def _answered(self, impressions: Impressions, rng: np.random.Generator) -> Impressions:
        """Some requests of each user who had a history and then took something of the answer."""
        moments, requests = impressions.moments, impressions.rows_of_requests()
        taken = _chosen_next(moments, requests, impressions.items, self.horizon)
        useful = np.bincount(requests[taken], minlength=len(moments)) > 0
        rows = rng.permutation(np.flatnonzero(useful & (moments.stop > moments.start)))
        rows = rows[np.argsort(moments.users[rows], kind="stable")]
        users = moments.users[rows]
        rows = rows[np.arange(len(rows)) - np.searchsorted(users, users) < self.moments]
        if len(rows) > self.limit:
            rows = rng.choice(rows, self.limit, replace=False)
        return impressions.take(np.sort(rows))


class RankingStage:
    """A fitted ranker with the features it takes.

    Args:
        ranker: fitted on these features.
        features: fitted on the data that is served.
        seen: by categorical feature, in the schema's order, bool [size]: the rows that the ranker
            knows. Others are the unknown to it.
        long_tail: which places go to what few people take.
    """

    def __init__(
        self,
        ranker: Ranker,
        features: PointInTime,
        seen: Sequence[NDArray[np.bool_]],
        long_tail: LongTail,
    ) -> None:
        self.ranker = ranker
        self.features = features
        self.seen = tuple(seen)
        pairs = zip(features.schema.categorical, self.seen, strict=True)
        self._some = {feature.name: known for feature, known in pairs if not known[1:].all()}
        self.long_tail = long_tail

    @classmethod
    def fit(
        cls,
        ranker: Ranker,
        features: PointInTime,
        dataset: Dataset,
        train: Shown,
        validation: Shown,
        *,
        least: int = 1,
        long_tail: LongTail | None = None,
        run: Run | None = None,
    ) -> RankingStage:
        """Fits the features on a data set, and the ranker on what would have been shown.

        Args:
            least: moments at which a user, an item or a category has to occur to be told from the
                unknown.
        """
        features.fit(dataset, train.candidates.source_names)
        rows = features.apart(train.moments, train.candidates)
        seen = _seen(rows.joined(), train.candidates.offsets, least)
        stage = cls(ranker, features, seen, LongTail() if long_tail is None else long_tail)
        held = stage._known(features.apart(validation.moments, validation.candidates)).joined()
        ranker.fit_batch(
            stage._known(rows).joined(),
            train.labels,
            groups=train.candidates.rows_of_queries(),
            positions=train.positions,
            validation=(
                held,
                validation.labels,
                validation.candidates.rows_of_queries(),
                validation.positions,
            ),
            run=run,
        )
        return stage

    def ranked(
        self, queries: Queries, candidates: Candidates
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The ranker's score of each candidate, float32 [m], and the candidates of each query in
        the order in which they are shown, int64 [m]."""
        scores, popularity = np.empty((2, len(candidates.items)), np.float32)
        for start, stop in candidates.tiles(_TILE):
            some = slice(candidates.offsets[start], candidates.offsets[stop])
            asked, proposed = queries.slice(start, stop), candidates.slice(start, stop)
            features = self._known(self.features.apart(asked, proposed))
            scores[some] = self.ranker.score_requests(features)
            popularity[some] = self.features.popularity(asked, proposed)
        return scores, self.long_tail.order(queries.users, candidates, scores, popularity)

    def _known(self, features: RequestFeatures) -> RequestFeatures:
        """With the unknown in place of values that the ranker does not know."""
        some = self._some
        return replace(
            features,
            requests=features.requests.only(some),
            items=features.items.changed(lambda block: block.only(some), some),
        )


def _seen(rows: FeatureBatch, offsets: NDArray[np.int64], least: int) -> list[NDArray[np.bool_]]:
    """By categorical feature, bool [size]: the rows that occur, in sequences of it too, at as many
    moments; `offsets` say which rows of features are of one moment."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    asked = np.flatnonzero(np.diff(offsets))
    found = []
    for place, feature in enumerate(rows.schema.categorical):
        pairs = [owner << 32 | rows.categorical[:, place]]
        for sequence, lists in zip(rows.schema.sequences, rows.sequences, strict=True):
            if sequence.of == feature.name:
                # All candidates of a moment have the same sequences.
                each = lists.take(offsets[asked])
                pairs.append(np.repeat(asked, each.counts) << 32 | each.rows)
        at = np.unique(np.concatenate(pairs)) & 0xFFFFFFFF
        found.append(np.bincount(at, minlength=feature.size) >= least)
    return found


def _chosen_next(
    asked: Moments, rows: NDArray[np.int64], items: NDArray[np.int32], horizon: int
) -> NDArray[np.bool_]:
    """bool [m]: whether each item is among the next events of the user who asked at moment
    `rows` [m]."""
    h = asked.histories
    after = h.parts(asked.stop, np.minimum(asked.stop + horizon, h.offsets[asked.users + 1]))
    taken = after.rows_of_events().astype(np.int64) << 32 | after.items
    return np.isin(rows << 32 | items, taken)


def _with_seen(
    proposed: Candidates, seen: Impressions
) -> tuple[Candidates, NDArray[np.bool_], NDArray[np.int64]]:
    """Candidates of queries, the last of which are requests, with what the requests were answered
    with; which of all these were seen there, bool [m], and at which places, int64 [m]."""
    before = len(proposed) - len(seen)
    offsets = np.concatenate([np.zeros(before, np.int64), seen.offsets])
    both = Candidates.join([proposed, Candidates.without_sources(offsets, seen.items)])
    rows = seen.rows_of_requests() + before
    # Both are in order of query and item.
    pairs = both.rows_of_queries() << 32 | both.items
    places = np.searchsorted(pairs, rows << 32 | seen.items)
    was_seen, positions = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.int64)
    was_seen[places], positions[places] = True, seen.positions
    return both, was_seen, positions


def _places(candidates: Candidates, order: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place, from 0, of each candidate of a query when they are sorted by `order`."""
    rows = candidates.rows_of_queries()
    places = np.empty(len(rows), np.int64)
    places[np.lexsort((order, rows))] = np.arange(len(rows))
    return places - candidates.offsets[rows]


def _positives(candidates: Candidates, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The positives of each query, int64 [B]."""
    return np.bincount(candidates.rows_of_queries()[chosen], minlength=len(candidates))
