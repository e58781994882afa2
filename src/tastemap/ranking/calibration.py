"""From scores to probabilities that are as large as clicks are frequent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

__all__ = ["CALIBRATIONS", "Calibration", "IsotonicRegression", "PlattScaling"]


class Calibration(ABC):
    """A function from scores to probabilities, learned from rows that the scores were not."""

    @abstractmethod
    def fit(self, scores: NDArray[Any], labels: NDArray[Any]) -> Self:
        """Learns from scores, finite [n], and labels, 0 or 1 [n], of at least one row."""

    @abstractmethod
    def probabilities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """float64 [n], above 0 and below 1, of scores [n]."""

    @abstractmethod
    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """What was learned, by name; `restored` takes it back."""

    @classmethod
    @abstractmethod
    def restored(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """What `tensors` was taken from."""


class PlattScaling(Calibration):
    """σ(a s + b) of the score s (Platt 1999, "Probabilistic outputs for support vector machines").

    a and b make the cross-entropy least, with his targets (N₁ + 1) / (N₁ + 2) for the N₁ clicks and
    1 / (N₀ + 2) for the other rows, so that few rows do not make it certain of anything.
    """

    a: float
    b: float

    def fit(self, scores: NDArray[Any], labels: NDArray[Any]) -> Self:
        scores = np.asarray(scores, np.float64)
        clicks = np.asarray(labels) > 0
        n, others = clicks.sum(), (~clicks).sum()
        targets = np.where(clicks, (n + 1) / (n + 2), 1 / (others + 2))
        # Of mean 0 and deviation 1, the steps of the search are as large for a as for b.
        mean, scale = scores.mean(), scores.std() or 1.0
        x = (scores - mean) / scale

        def loss(ab: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            odds = ab[0] * x + ab[1]
            losses = np.logaddexp(0, odds) - targets * odds
            wrong = expit(odds) - targets
            return losses.mean(), np.array([wrong @ x, wrong.sum()]) / len(x)

        a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
        self.a, self.b = a / scale, b - a * mean / scale
        return self

    def probabilities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = expit(self.a * np.asarray(scores, np.float64) + self.b)
        return found

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        return {"line": np.array([self.a, self.b])}

    @classmethod
    def restored(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        found = cls()
        found.a, found.b = (float(number) for number in tensors["line"])
        return found


class IsotonicRegression(Calibration):
    """The rising steps nearest to the labels, by pool adjacent violators, with straight lines
    between them (Zadrozny & Elkan 2002, "Transforming classifier scores into accurate multiclass
    probability estimates").

    A click of the lowest score and another row of the highest one are added, so that no probability
    is 0 or 1, whose log-loss would be infinite the first time they were wrong.

    Attributes:
        scores, values: float64 [k], where the lines meet; both rise.
    """

    scores: NDArray[np.float64]
    values: NDArray[np.float64]

    def fit(self, scores: NDArray[Any], labels: NDArray[Any]) -> Self:
        scores = np.asarray(scores, np.float64)
        scores = np.concatenate([scores, [scores.min(), scores.max()]])
        labels = np.concatenate([np.asarray(labels, np.float64), [1.0, 0.0]])
        distinct, of, counts = np.unique(scores, return_inverse=True, return_counts=True)
        values = isotonic_regression(np.bincount(of, labels) / counts, weights=counts).x
        # Of a step only its two ends.
        end = np.ones(len(values), np.bool_)
        end[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
        self.scores, self.values = distinct[end], values[end]
        return self

    def probabilities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        return np.interp(np.asarray(scores, np.float64), self.scores, self.values)

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        return {"scores": self.scores, "values": self.values}

    @classmethod
    def restored(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        found = cls()
        found.scores, found.values = tensors["scores"], tensors["values"]
        return found


CALIBRATIONS: dict[str, type[Calibration]] = {
    "platt": PlattScaling,
    "isotonic": IsotonicRegression,
}
"""By the names that rankers take."""
