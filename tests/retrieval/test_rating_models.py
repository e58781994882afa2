"""The models of ratings: what training on torch, folding in, and times do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemap.data.dataset import Dataset
from tastemap.data.histories import Histories
from tastemap.data.queries import Queries
from tastemap.data.splits import RandomPerUser, Split
from tastemap.errors import DataError
from tastemap.metrics import rmse
from tastemap.retrieval.base import Retriever
from tastemap.retrieval.explicit_als import ExplicitALS
from tastemap.retrieval.funk_svd import FunkSVD
from tastemap.retrieval.non_negative_mf import NonNegativeMF
from tastemap.retrieval.svdpp import SVDPP
from tastemap.retrieval.time_svdpp import TimeSVDPP
from tastemap.training.run import Run

QUIET = Run(device="cpu", progress=False)


@pytest.fixture(scope="module")
def split(movies: Dataset) -> Split:
    """A third of the users, so that torch's epochs are short here."""
    part = movies.with_events(movies.histories.rows_of_events() % 3 == 0)
    return RandomPerUser(test=0.1, seed=1).split(part)


def error(model: Retriever, split: Split, queries: Queries | None = None) -> float:
    truth = split.test.truth
    asked = split.test.queries if queries is None else queries
    predicted = model.predict_pairs(asked, truth.rows_of_events(), truth.items, truth.times)
    return float(rmse(predicted, truth.values))


@pytest.mark.parametrize(
    "make", [FunkSVD, SVDPP, TimeSVDPP, NonNegativeMF, ExplicitALS], ids=lambda cls: cls.name
)
def test_strangers_with_the_history_of_users_are_rated_like_them(
    make: type[Retriever], split: Split
) -> None:
    model = make(factors=16).fit(split.train, run=QUIET)
    strangers = Queries.of(split.test.queries.histories)
    assert error(model, split, strangers) == pytest.approx(error(model, split), abs=0.02)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (SVDPP, {"epochs": 5, "learning_rate": 0.05}),
        (TimeSVDPP, {"epochs": 5, "learning_rate": 0.05}),
        (FunkSVD, {"epochs": 5, "learning_rate": 0.02}),
    ],
    ids=["svdpp", "timesvdpp", "funksvd"],
)
def test_torch_comes_as_far_as_the_kernel(
    make: type[Retriever], settings: dict[str, float], movies: Dataset
) -> None:
    few = movies.with_events(movies.histories.rows_of_events() % 12 == 0)
    part = RandomPerUser(test=0.1, seed=1).split(few)
    settings = {"factors": 4, "batch_size": 256, **settings}
    kernel = make(**settings).fit(part.train, run=QUIET)
    # Torch's own name of the CPU: what runs there is what would run on a GPU.
    model = make(**settings).fit(part.train, run=Run(device="cpu:0", progress=False))
    spread = part.test.truth.values.std()
    assert error(model, part) < error(kernel, part) + 0.04
    assert error(model, part) < 0.95 * spread


def test_non_negative_factors_on_torch_are_those_of_the_kernel(split: Split) -> None:
    model = NonNegativeMF(factors=4, epochs=5).fit(split.train, run=QUIET)
    run = Run(device="cpu:0", progress=False)
    on_torch = NonNegativeMF(factors=4, epochs=5).fit(split.train, run=run)
    np.testing.assert_allclose(on_torch.user_vectors, model.user_vectors, rtol=1e-3)


def test_factors_are_never_negative(split: Split) -> None:
    model = NonNegativeMF(factors=8).fit(split.train, run=QUIET)
    assert model.item_factors.min() >= 0
    strangers = Queries.of(Histories.from_lists([[], [3, 9]], values=5.0))
    assert model.encode_queries(strangers).min() >= 0
    assert model.user_vectors.min() >= 0


def test_negative_values_are_refused_by_non_negative_factors(split: Split) -> None:
    h = split.train.histories
    below = Histories(h.offsets, h.items, h.times, h.values - 4, h.kinds)
    data = Dataset(
        split.train.users, split.train.items, below, split.train.kind_names, True, None, None, None
    )
    with pytest.raises(DataError, match="at least 0"):
        NonNegativeMF().fit(data, run=QUIET)


def test_time_svdpp_rates_by_time(split: Split) -> None:
    model = TimeSVDPP(factors=8, time_bias_regularization=0.1).fit(split.train, run=QUIET)
    user, item = model.users.ids([3])[0], model.items.ids([50])[0]
    first, last, _ = model.times
    early, late = model.predict([user, user], [item, item], [first, last])
    assert early != late
    # Long before and long after all data time stands still.
    beyond = model.predict([user] * 2, [item] * 2, [last + 9e7, last + 9e9])
    assert beyond[0] == pytest.approx(beyond[1])


def test_a_day_s_mood_counts_on_that_day_alone(split: Split) -> None:
    model = TimeSVDPP(factors=8, time_bias_regularization=0.1).fit(split.train, run=QUIET)
    h = split.train.histories
    row = 3
    day = np.floor(h.times[h.offsets[row]] / 86_400) * 86_400
    items = model.items.ids(np.arange(1, 200))
    users = model.users.ids([row]) * len(items)

    def mean_at(time: float) -> float:
        return float(model.predict(users, items, [time] * len(items)).mean())

    before = mean_at(day + 3600), mean_at(day + 9e9)
    model.day_bias = model.day_bias - np.float32(0.5)
    assert mean_at(day + 3600) < before[0] - 0.1
    assert mean_at(day + 9e9) == before[1]


def test_time_svdpp_needs_times() -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [3.0, 4.0]})
    data = Dataset.from_frame(frame, user="user", item="item", value="rating")
    with pytest.raises(DataError, match="times"):
        TimeSVDPP().fit(data, run=QUIET)
