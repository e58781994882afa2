"""Confidence intervals by drawing users again and again."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemap.errors import ParameterError

__all__ = ["bootstrap_interval"]

# Counts of one block of resamples take at most about this many bytes.
_BLOCK_BYTES = 64 * 2**20


def bootstrap_interval(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap interval of means over users (Efron and Tibshirani 1993, chapter 13).

    Users are drawn with replacement, all metrics of a user together; one seed draws the same users
    every time, so that intervals of models asked the same queries are comparable.

    Args:
        values: float [n] or [n, m], a value per user (and metric); NaN where there is none.
        weights: float [n] or [n, m], where the mean is sum(values) / sum(weights); 1 by default.
        confidence: share of the resamples that the interval holds, between 0 and 1.
        resamples: how many times n users are drawn.
        seed: of the draws.

    Returns:
        low and high, float64 [m] (scalars as arrays without dimension for values [n]); NaN where no
        user has a value.

    Raises:
        ParameterError: an argument out of range, or shapes that differ.
    """
    table = np.asarray(values, np.float64)
    divisors = np.ones_like(table) if weights is None else np.asarray(weights, np.float64)
    if table.shape != divisors.shape or table.ndim not in (1, 2):
        raise ParameterError(
            f"values {table.shape} and weights {divisors.shape} must be of one shape, [n] or [n, m]"
        )
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must lie between 0 and 1, got {confidence!r}")
    if resamples < 1:
        raise ParameterError(f"resamples must be at least 1, got {resamples!r}")
    shape = table.shape[1:]
    n, m = len(table), int(np.prod(shape))
    if n == 0 or m == 0:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    valid = ~np.isnan(table) & ~np.isnan(divisors)
    sums = np.hstack(
        [np.where(valid, table, 0).reshape(n, m), np.where(valid, divisors, 0).reshape(n, m)]
    )
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK_BYTES // (8 * n)))
    means = np.empty((resamples, m))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, n, (size, n))
        drawn += np.arange(0, size * n, n)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        drawn_sums = counts.astype(np.float64) @ sums
        divisor = drawn_sums[:, m:]
        means[start : start + size] = drawn_sums[:, :m] / np.where(divisor != 0, divisor, np.nan)
    tail = (1 - confidence) / 2
    # A rare resample may hold no user with a value; only where all do is there no interval.
    interval = np.full((2, m), np.nan)
    some = ~np.isnan(means).all(axis=0)
    if some.any():
        interval[:, some] = np.nanquantile(means[:, some], [tail, 1 - tail], axis=0)
    return interval[0].reshape(shape), interval[1].reshape(shape)
