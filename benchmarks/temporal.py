"""Does it help a model of ratings to know the time? On the random tenth, and on a global split of
time, where nothing of the future is known."""

from typing import Any

import numpy as np
import polars as pl

import tastemap as tm
from benchmarks import data, splits
from tastemap.data.dataset import Dataset
from tastemap.data.splits import GlobalTime

MODELS = ("MatrixFactorization", "SVDPP", "TimeSVDPP")
_DRAWS = 1000


def temporal(dataset: str, seeds: int) -> dict[str, Any]:
    """RMSE of each model on both splits, mean over seeds, and what timeSVD++ and SVD++ gain, with a
    95 % interval."""
    found: dict[str, Any] = {"splits": {}, "protocols": {}}
    for name, (train, test, digest) in _parts(dataset).items():
        found["splits"][name] = digest
        users, items, values, times = test
        errors = {}
        for model in MODELS:
            squares = np.zeros(len(values))
            for seed in range(seeds):
                fitted = getattr(tm, model)(seed=seed).fit(train)
                squares += (fitted.predict(users, items, times) - values) ** 2 / seeds
            errors[model] = squares
            print(f"{name}: {model} {np.sqrt(squares.mean()):.4f}", flush=True)
        found["protocols"][name] = {
            "ratings": len(values),
            "rmse": {model: float(np.sqrt(e.mean())) for model, e in errors.items()},
            "differences": [
                {"model": a, "baseline": b, **_difference(users, errors[a], errors[b])}
                for a, b in (("SVDPP", MODELS[0]), ("TimeSVDPP", MODELS[0]), ("TimeSVDPP", "SVDPP"))
            ],
        }
    return found


def _parts(dataset: str) -> dict[str, Any]:
    """Training set, (users, items, values, times) of the test, and hash of both splits."""
    ratings = data.load(dataset)
    tenth = splits.rating_tenth(ratings)
    columns = {"user": "users", "item": "items", "rating": "values", "time": "times"}
    known = pl.DataFrame({name: getattr(ratings, c)[tenth.train] for name, c in columns.items()})
    train = Dataset.from_frame(known, user="user", item="item", value="rating", time="time")
    asked = tuple(
        getattr(ratings, column)[tenth.test] for column in ("users", "items", "values", "times")
    )

    whole = tm.datasets.load(dataset)
    later = GlobalTime(test=0.1, validation=0.0).split(whole)
    truth = later.test.truth
    users = whole.users.ids(later.test.queries.users[truth.rows_of_events()])
    future = users, whole.items.ids(truth.items), truth.values, truth.times
    return {
        "random tenth": (train, asked, tenth.hash),
        "last tenth in time": (later.train, future, later.fingerprint),
    }


def _difference(users: Any, errors: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Difference of two RMSE on the same ratings, with a 95 % bootstrap interval.

    Users are drawn, not ratings, since the errors of one user go together.
    """
    who = np.unique(np.asarray(users), return_inverse=True)[1]
    sums = np.stack([np.bincount(who, x) for x in (np.ones(len(who)), errors, baseline)])
    rng = np.random.default_rng(0)
    drawn = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        n, a, b = sums[:, rng.integers(0, sums.shape[1], sums.shape[1])].sum(axis=1)
        drawn[draw] = np.sqrt(a / n) - np.sqrt(b / n)
    low, high = np.quantile(drawn, [0.025, 0.975])
    difference = np.sqrt(errors.mean()) - np.sqrt(baseline.mean())
    return {"difference": float(difference), "low": float(low), "high": float(high)}
