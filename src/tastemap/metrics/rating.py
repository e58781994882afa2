"""Errors of predicted ratings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError

__all__ = ["mae", "rmse"]


def rmse(predicted: NDArray[Any], actual: NDArray[Any]) -> float:
    """Root of the mean squared error over all pairs, each pair counting once.

    Args:
        predicted, actual: float [n], in order; the unit is that of the ratings.

    Raises:
        ParameterError: different shapes, no pair at all, or a value that is not finite.
    """
    return float(np.sqrt(np.mean(errors(predicted, actual) ** 2)))


def mae(predicted: NDArray[Any], actual: NDArray[Any]) -> float:
    """Mean absolute error over all pairs; arguments and errors as for `rmse`."""
    return float(np.mean(np.abs(errors(predicted, actual))))


def errors(predicted: NDArray[Any], actual: NDArray[Any]) -> NDArray[np.float64]:
    """Predicted minus actual, float64 [n]; arguments and errors as for `rmse`."""
    pair = {
        "predicted": np.asarray(predicted, np.float64),
        "actual": np.asarray(actual, np.float64),
    }
    shapes = [values.shape for values in pair.values()]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise ParameterError(
            f"predicted and actual must be vectors of one length, not {shapes[0]} and {shapes[1]}"
        )
    if not shapes[0][0]:
        raise ParameterError("there is no rating to compare")
    for name, values in pair.items():
        finite = np.isfinite(values)
        if not finite.all():
            place = int(np.argmin(finite))
            raise ParameterError(f"{name}[{place}] is not finite: {values[place]}")
    return pair["predicted"] - pair["actual"]
