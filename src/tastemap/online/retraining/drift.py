"""Whether what people do now is still what a release has learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.online.retraining.as_served import AsServed
from tastemap.online.retraining.gathering import Gathered
from tastemap.online.stability import Shift, stability

__all__ = ["shifts"]

_BINS = 10
_ASKED = 500
_K = 10


def shifts(served: AsServed, gathered: Gathered) -> Iterator[Shift]:
    """How the later events differ from those that the release has learned from.

    Compared are the later events and as many of the newest that the release knows, and at least
    1,000: what people do changes with the years, and beside all of a long log the newest events
    would look strange to a release that was made a minute ago.

    - popularity: the release's items in ten groups of equal popularity, from the few that
      everybody takes to the many that hardly anybody does, and the items that it does not know.
    - kinds: of events.
    - scores: of the first ten items for those who did something then.
    """
    h, later = gathered.data.histories, gathered.later
    before = _newest(h, ~later, max(1000, gathered.n_later))
    groups = _popularity_groups(h.items[~later], len(served.release.items), len(served.items))
    n_kinds = len(gathered.data.kind_names)
    for of, codes, size in (
        ("popularity", groups[h.items], _BINS + 1),
        ("kinds", h.kinds, n_kinds),
    ):
        counts = (np.bincount(codes[some], minlength=size) for some in (before, later))
        yield stability(of, *counts)
    yield stability("scores", *_score_counts(served, h, (before, later)))


def _newest(h: Histories, some: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    places = np.flatnonzero(some)
    return places[np.argsort(h.times[places], kind="stable")[-n:]]


def _popularity_groups(items: NDArray[np.int32], n_known: int, n_rows: int) -> NDArray[np.int64]:
    """The group of each item row, int64 [n_rows]: 0 to 9, and 10 for those not known before."""
    counts = np.bincount(items, minlength=n_known)[:n_known]
    order = np.argsort(-counts, kind="stable")
    # An item is in the group in which the middle of its events lies.
    middle = np.cumsum(counts[order]) - counts[order] / 2
    groups = np.full(n_rows, _BINS, np.int64)
    groups[order] = np.minimum(_BINS * middle / max(1, counts.sum()), _BINS - 1)
    return groups


def _score_counts(
    served: AsServed, h: Histories, windows: Sequence[NDArray[Any]]
) -> Iterator[NDArray[np.int64]]:
    """How many scores of the users of each window lie in each tenth of those of the first one."""
    owners, edges = h.rows_of_events(), None
    for window in windows:
        users = np.random.default_rng(0).permutation(np.unique(owners[window]))[:_ASKED]
        asked = Queries.of(h.take(users), users=users, profile=served.data.profiles(users))
        scores = served.answer(asked, _K).scores
        if edges is None:
            edges = np.unique(np.quantile(scores, np.arange(1, _BINS) / _BINS))
        yield np.bincount(np.searchsorted(edges, scores), minlength=len(edges) + 1)
