"""The splits of the benchmarks, each with a hash that is printed beside every figure."""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Ratings:
    """A data set in file order: `users` and `items` are row numbers from 0, int32 [n]; `times` are
    Unix seconds, or None."""

    name: str
    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_users: int
    n_items: int
    times: np.ndarray | None = None


@dataclass(frozen=True)
class TopNSplit:
    """What each user liked, as 0/1 matrices, users × items, without a common entry."""

    train: sparse.csr_matrix
    test: sparse.csr_matrix
    seed: int

    @property
    def hash(self) -> str:
        return _hash(*(part for m in (self.train, self.test) for part in (m.indptr, m.indices)))

    def validation(self) -> "TopNSplit":
        """The training part split once more in the same way, to choose hyper-parameters on."""
        users, items = self.train.nonzero()
        values = np.full(len(users), np.inf, np.float32)
        return top_n(Ratings("", users, items, values, *self.train.shape), self.seed + 1000)


@dataclass(frozen=True)
class RatingSplit:
    """Event numbers of `ratings`: `train` int64 [m], `test` int64 [n - m]."""

    ratings: Ratings
    train: np.ndarray
    test: np.ndarray

    @property
    def hash(self) -> str:
        r = self.ratings
        return _hash(
            *(part[rows] for rows in (self.train, self.test) for part in (r.users, r.items))
        )

    def validation(self) -> "RatingSplit":
        """A tenth of the training part as the test, to choose hyper-parameters on."""
        n_test = len(self.train) // 10
        return RatingSplit(self.ratings, self.train[n_test:], self.train[:n_test])


@dataclass(frozen=True)
class NextSplit:
    """What each user chose, in order of time, and what came next.

    `history` and `last` are 0/1 matrices, users × items, of what is known when the question is
    asked and of its answer; the events of the history stand in `offsets`, `items`, `times`, and
    `trained` (see `contenders.protocol.Next`).
    """

    history: sparse.csr_matrix
    last: sparse.csr_matrix
    offsets: np.ndarray
    items: np.ndarray
    times: np.ndarray
    trained: np.ndarray

    @property
    def hash(self) -> str:
        return _hash(self.offsets, self.items, self.trained, self.last.indices)

    def validation(self) -> "NextSplit":
        """The same events to train on, but asked for is what came right after them, to choose
        hyper-parameters on; what is asked for here is not there."""
        users, known, shape = self._users, self.trained, self.history.shape
        return NextSplit(
            _matrix(users[known], self.items[known], shape),
            _matrix(users[~known], self.items[~known], shape),
            np.concatenate([[0], np.cumsum(np.bincount(users[known], minlength=shape[0]))]),
            self.items[known],
            self.times[known],
            known[known],
        )

    @property
    def _users(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def leave_one_out(ratings: Ratings) -> NextSplit:
    """The last event of each user is the test, the one before is known then, but not trained on.

    All ratings count, whatever their value; of events at the same time the one that stands later in
    the file is later. Users with fewer than three events are only trained on.
    """
    if ratings.times is None:
        raise ValueError(f"{ratings.name} has no times")
    order = np.lexsort((ratings.times, ratings.users))
    users, items, times = ratings.users[order], ratings.items[order], ratings.times[order]
    counts = np.bincount(users, minlength=ratings.n_users)
    from_end = np.cumsum(counts)[users] - np.arange(len(users))
    enough = counts[users] >= 3
    test, trained = (from_end == 1) & enough, ~((from_end <= 2) & enough)
    shape = (ratings.n_users, ratings.n_items)
    left = np.bincount(users[~test], minlength=ratings.n_users)
    return NextSplit(
        _matrix(users[~test], items[~test], shape),
        _matrix(users[test], items[test], shape),
        np.concatenate([[0], np.cumsum(left)]),
        items[~test],
        times[~test],
        trained[~test],
    )


def top_n(ratings: Ratings, seed: int, *, least: float = 4, events: int = 5) -> TopNSplit:
    """A random fifth of what each user liked is the test.

    Liked means rated `least` or better; users who liked fewer than `events` items are left out.
    Of a user's n likes, round(n / 5) are drawn; `seed` is that of the draw.
    """
    liked = ratings.values >= least
    users, items = ratings.users[liked], ratings.items[liked]
    kept = np.bincount(users, minlength=ratings.n_users)[users] >= events
    users = np.unique(users[kept], return_inverse=True)[1]
    items = np.unique(items[kept], return_inverse=True)[1]

    draw = np.random.default_rng(seed).random(len(users))
    order = np.lexsort((draw, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users)) - np.repeat(starts, counts)
    test = place < np.round(counts / 5)[users]

    shape = (len(counts), int(items.max()) + 1)
    return TopNSplit(
        _matrix(users[~test], items[~test], shape), _matrix(users[test], items[test], shape), seed
    )


def rating_tenth(ratings: Ratings) -> RatingSplit:
    """The first tenth of a fixed shuffle of the file's rows is the test, as others publish it."""
    order = np.random.RandomState(42).permutation(len(ratings.values))
    n_test = len(order) // 10
    return RatingSplit(ratings, order[n_test:], order[:n_test])


def _matrix(users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.sort_indices()
    return matrix


def _hash(*parts: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part, np.int64).tobytes())
    return digest.hexdigest()[:12]
