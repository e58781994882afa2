"""timeSVD++: SVD++ whose biases and tastes change with time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Holdout, Queries
from tastemap.errors import DataError
from tastemap.hyperparameters import hyperparameter
from tastemap.kernels.svdpp import implicit_sums
from tastemap.kernels.time_svdpp import Days, Events, Items, Rates, Users, time_svdpp_fold_in
from tastemap.retrieval.base import VectorRetriever, cosines
from tastemap.retrieval.parts.fitting import TrainedInEpochs
from tastemap.retrieval.parts.fold_in import unchanged_since
from tastemap.retrieval.parts.rating_vectors import known_ratings, rating_scale
from tastemap.retrieval.time_svdpp_training import trainer_of
from tastemap.training.loop import State
from tastemap.training.run import Run

__all__ = ["TimeSVDPP"]

_DAY = 86_400.0
# Of a key of user and day, the lower bits are the day.
_DAY_BITS = 24
# Pairs whose vectors are made at a time.
_PAIRS = 1 << 15


class TimeSVDPP(TrainedInEpochs, VectorRetriever):
    """SVD++ where the popularity of items, the mood of users and their taste move with time.

        r̂_ui(t) = μ + b_u + α_u dev_u(t) + b_ut + (c_i + c_i,Bin(t)) (s_u + s_ut)
                  + q_i · (p_u + α'_u dev_u(t) + p_ut + |N(u)|^-½ Σ_{j in N(u)} y_j)
        dev_u(t) = sign(t - t_u) |t - t_u|^β

    Koren 2009, equations 9 to 12 and 17 in the linear form that the paper calls timeSVD++: t_u is
    the mean time of the user's ratings, Bin(t) one of `bins` equal parts of the time of the data,
    and b_ut, s_ut, p_ut belong to one day (UTC) of one user. What belongs to a day without ratings
    of the user is 0. dev_u is counted in units of its largest value in the training data, which
    only changes the unit of the α.

    Ratings are asked for at a time: that of the pair (`predict(users, items, times)`), else that of
    the query (`as_of`). Where that is "now", items are as in the last bin and the user is as at
    their mean time, since dev_u is no forecast. A history in which times are unknown (0) counts as
    of now.

    A user whose history has changed, and a stranger, get their parameters by the user's part of the
    training steps, with the items held fixed. On the CPU compiled epochs train
    (`kernels/time_svdpp.py`), elsewhere torch.

    Attributes:
        taste, taste_drift: float32 [user rows, factors], p_u with the sum over N(u), and α'_u.
        bias, bias_drift, scale: float32 [user rows], b_u, α_u and s_u.
        mean_times: float64 [user rows], t_u.
        days: int64 [days], user row and day as one number (see `_day_keys`), ascending.
        day_taste, day_bias, day_scale: float32 [days, factors], [days] and [days].
        item_factors, implicit_factors: float32 [item rows, factors], q_i and y_j.
        item_bias: float32 [item rows]. bin_bias: float32 [item rows, bins].
        times: float64 [3], the first and last time in the training data, and the unit of dev_u.
        ratings: float32 [3], the mean, lowest and highest rating in the training data.
        training: how the training went, right after `fit`.
    """

    name: ClassVar[str] = "timesvdpp"
    paper: ClassVar[str] = "Koren 2009, Collaborative Filtering with Temporal Dynamics (KDD)"
    learned: ClassVar[tuple[str, ...]] = (
        "taste", "taste_drift", "bias", "bias_drift", "scale", "mean_times",
        "days", "day_taste", "day_bias", "day_scale",
        "item_factors", "implicit_factors", "item_bias", "bin_bias", "times", "ratings",
    )  # fmt: skip

    factors: int = hyperparameter(default=128, help="length of the vectors", ge=1, log=True)
    epochs: int = hyperparameter(
        default=30, help="passes over the ratings", ge=1, log=True, tuned=False
    )
    learning_rate: float = hyperparameter(
        default=0.015, help="first step size, falling to 0", gt=0, log=True
    )
    regularization: float = hyperparameter(
        default=0.04, help="penalty on the vectors, for each rating", gt=0, log=True
    )
    bias_regularization: float = hyperparameter(
        default=0.01, help="penalty on the biases, for each rating", gt=0, log=True
    )
    time_regularization: float = hyperparameter(
        default=0.6, help="penalty on what time adds to the vectors", gt=0, log=True
    )
    time_bias_regularization: float = hyperparameter(
        default=10.0, help="penalty on what time adds to biases and scales", gt=0, log=True
    )
    bins: int = hyperparameter(
        default=30, help="equal parts of the time of the data for the biases of items", ge=1
    )
    drift_exponent: float = hyperparameter(
        default=0.4, help="β, how fast a user drifts with the distance in time", gt=0, le=1
    )
    batch_size: int = hyperparameter(
        default=4096,
        help="ratings in a step where torch trains, that is on a GPU",
        ge=1,
        log=True,
        tuned=False,
    )

    def _fit(self, dataset: Dataset, validation: Holdout | None, run: Run) -> None:
        if not dataset.has_times or not (dataset.histories.times > 0).any():
            raise DataError(
                "TimeSVDPP needs the times of ratings, and this data set has none",
                remedy="Map a time column, or use SVDPP",
            )
        h = known_ratings(dataset.histories)
        self.ratings: NDArray[np.float32] = rating_scale(dataset.histories)
        known = h.times[h.times > 0]
        self.times: NDArray[np.float64] = np.array([known.min(), known.max(), 1.0])
        self.mean_times: NDArray[np.float64] = self._mean_times(h)
        away = np.abs(self._moments(h.times) - self.mean_times[h.rows_of_events()]).max() / _DAY
        self.times[2] = max(float(away), 1e-9) ** self.drift_exponent
        self.days, events = self._events(h, self.mean_times)
        self._fit_in_epochs(
            trainer_of(self, events, len(self.days), len(self.items), run.kernel_device()),
            self.epochs,
            validation,
            run,
            monitor="rmse",
            install=self._install,
        )

    def rates(self, learning_rate: float) -> Rates:
        """The step size with the penalties."""
        penalties = (
            self.regularization, self.bias_regularization,
            self.time_regularization, self.time_bias_regularization,
        )  # fmt: skip
        return Rates(*(np.float32(x) for x in (learning_rate, *penalties)))

    def _install(self, state: State) -> None:
        self.item_factors: NDArray[np.float32] = state["item_factors"]
        self.implicit_factors: NDArray[np.float32] = state["implicit_factors"]
        self.item_bias: NDArray[np.float32] = state["item_bias"]
        self.bin_bias: NDArray[np.float32] = state["bin_bias"]
        h = known_ratings(self.histories)
        z = implicit_sums(h.offsets, h.items, self.implicit_factors)
        self.taste: NDArray[np.float32] = state["taste"] + z
        self.taste_drift: NDArray[np.float32] = state["taste_drift"]
        self.bias: NDArray[np.float32] = state["bias"]
        self.bias_drift: NDArray[np.float32] = state["bias_drift"]
        self.scale: NDArray[np.float32] = state["scale"]
        self.day_taste: NDArray[np.float32] = state["day_taste"]
        self.day_bias: NDArray[np.float32] = state["day_bias"]
        self.day_scale: NDArray[np.float32] = state["day_scale"]

    # -- time -----------------------------------------------------------------------------------

    def _mean_times(self, h: Histories) -> NDArray[np.float64]:
        """t_u of histories, float64 [B]; the last time of the training data for an empty one."""
        sums = np.bincount(h.rows_of_events(), self._moments(h.times), minlength=len(h))
        return np.where(h.counts > 0, sums / np.maximum(h.counts, 1), self.times[1])

    def _moments(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Times with the last of the training data where they are unknown or now."""
        return np.where((times > 0) & np.isfinite(times), times, self.times[1])

    def _drifts(
        self, rows: NDArray[Any], times: NDArray[np.float64], mean_times: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """dev_u(t) of users, given by rows of `mean_times`, float32 [n]."""
        days = (self._moments(times) - mean_times[rows]) / _DAY
        drifts = np.sign(days) * np.abs(days) ** self.drift_exponent / self.times[2]
        # What is farther away than anything in training counts as the farthest there.
        return np.asarray(np.clip(drifts, -1, 1), np.float32)

    def _bins(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin(t), int64 [n]; times before and after the training data go to the outermost bins."""
        first, last, _ = self.times
        place = (self._moments(times) - first) / max(last - first, 1.0) * self.bins
        return np.asarray(np.clip(place, 0, self.bins - 1), np.int64)

    def _events(
        self, h: Histories, mean_times: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], Events]:
        """The days of histories (ascending keys), and their ratings for the kernels."""
        rows = h.rows_of_events()
        days, day_rows = np.unique(_day_keys(rows, self._moments(h.times)), return_inverse=True)
        values, drifts = h.values - self.ratings[0], self._drifts(rows, h.times, mean_times)
        bins = self._bins(h.times)
        return days, Events(h.offsets, h.items, values, drifts, day_rows.astype(np.int64), bins)

    # -- answers --------------------------------------------------------------------------------

    def item_vectors(self) -> NDArray[np.float32]:
        """(q_i, c_i, c_i,1 … c_i,bins, 1), float32 [item rows, factors + bins + 2]."""
        ones = np.ones_like(self.item_bias)
        return np.column_stack([self.item_factors, self.item_bias, self.bin_bias, ones])

    def encode_queries(self, queries: Queries) -> NDArray[np.float32]:
        return self._users_of(queries).vectors(np.arange(len(queries)), queries.as_of)

    def predict_pairs(
        self,
        queries: Queries,
        query_rows: NDArray[Any],
        items: NDArray[np.int32],
        times: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        at = queries.as_of[query_rows] if times is None else times
        users, vectors = self._users_of(queries), self.item_vectors()
        ratings = np.empty(len(items), np.float64)
        for start in range(0, len(items), _PAIRS):
            pair = slice(start, start + _PAIRS)
            theirs = users.vectors(query_rows[pair], at[pair])
            ratings[pair] = (theirs * vectors[items[pair]]).sum(axis=1)
        return np.clip(ratings, self.ratings[1], self.ratings[2])

    def _users_of(self, queries: Queries) -> _Users:
        """The parameters of the users of queries [B]."""
        unchanged = unchanged_since(self.histories, queries)
        changed = np.flatnonzero(~unchanged)
        h = queries.histories.take(changed).known(len(self.item_bias))
        mean_times = self._mean_times(h)
        days, folded, folded_days = self._fold_in(h, mean_times)
        learned = Users(self.taste, self.taste_drift, self.bias, self.bias_drift, self.scale)
        learned_days = Days(self.day_taste, self.day_bias, self.day_scale)

        place = queries.users.astype(np.int64)
        place[changed] = len(self.bias) + np.arange(len(changed))
        return _Users(
            self,
            place,
            Users(*map(_stacked, learned, folded)),
            _stacked(self.mean_times, mean_times),
            # Rows of the folded ones come after those of the learned ones, so keys stay ascending.
            _stacked(self.days, days + (len(self.bias) << _DAY_BITS)),
            Days(*map(_stacked, learned_days, folded_days)),
        )

    def _fold_in(
        self, h: Histories, mean_times: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], Users, Days]:
        """Days and parameters of histories [B] without unknown items."""
        days, events = self._events(h, mean_times)
        users, n, k = len(h), len(days), self.factors

        def zeros(*shape: int) -> NDArray[np.float32]:
            return np.zeros(shape, np.float32)

        found = Users(
            zeros(users, k), zeros(users, k), zeros(users), zeros(users), np.ones(users, np.float32)
        )
        found_days = Days(zeros(n, k), zeros(n), zeros(n))
        items = Items(self.item_factors, self.implicit_factors, self.item_bias, self.bin_bias)
        rates = self.rates(self.learning_rate)
        time_svdpp_fold_in(events, found, found_days, items, rates, self.epochs)
        z = implicit_sums(h.offsets, h.items, self.implicit_factors)
        return days, found._replace(taste=found.taste + z), found_days

    def similarity(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        # Cosine of the factors alone: a bias says how good an item is, not what it is like.
        return cosines(self.item_factors, items)


@dataclass(frozen=True)
class _Users:
    """Users of some queries, who can be asked for at any time.

    Attributes:
        place: int64 [B], the row of each query in `users` and `mean_times`.
        days: int64 [n], the ascending keys of the rows of `on_days`.
    """

    model: TimeSVDPP
    place: NDArray[np.int64]
    users: Users
    mean_times: NDArray[np.float64]
    days: NDArray[np.int64]
    on_days: Days

    def vectors(self, queries: NDArray[Any], times: NDArray[np.float64]) -> NDArray[np.float32]:
        """The vector of some queries [n], each at its time: taste(t), scale(t), scale(t) in the
        place of Bin(t), and μ + bias(t); float32 [n, factors + bins + 2]."""
        m, u, rows = self.model, self.users, self.place[queries]
        now = ~np.isfinite(times)
        drift = np.where(now, 0, m._drifts(rows, times, self.mean_times)).astype(np.float32)
        keys = _day_keys(rows, np.where(now, 0.0, times))
        day = np.minimum(np.searchsorted(self.days, keys), len(self.days) - 1)
        seen = ((self.days[day] == keys) & ~now).astype(np.float32)
        d = self.on_days

        scale = u.scale[rows] + seen * d.scale[day]
        bias = u.bias[rows] + drift * u.bias_drift[rows] + seen * d.bias[day]
        k = m.factors
        vectors = np.zeros((len(rows), k + m.bins + 2), np.float32)
        vectors[:, :k] = u.taste[rows] + drift[:, None] * u.taste_drift[rows]
        vectors[:, :k] += seen[:, None] * d.taste[day]
        vectors[:, k] = scale
        vectors[np.arange(len(rows)), k + 1 + m._bins(times)] = scale
        vectors[:, -1] = m.ratings[0] + bias
        return vectors


def _day_keys(rows: NDArray[Any], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """A row of users and the day (UTC) of a time as one number that grows with row, then day."""
    return (rows.astype(np.int64) << _DAY_BITS) + np.floor(times / _DAY).astype(np.int64)


def _stacked(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([first, second])
