"""How far a distribution has moved, and what of it is chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

__all__ = ["Shift", "stability"]

# Of a thousand comparisons of what has not changed one exceeds this.
_CONFIDENCE = 0.999


@dataclass(frozen=True)
class Shift:
    """How far a distribution has moved.

    Attributes:
        of: "popularity", "kinds" or "scores".
        index: the population stability index.
        noise: what it would hardly exceed (1 in 1,000) by chance alone.
    """

    of: str
    index: float
    noise: float

    def beyond(self, threshold: float) -> bool:
        """Whether it has moved by more than a threshold, and by more than chance explains."""
        return self.index > max(threshold, self.noise)


def stability(of: str, before: NDArray[np.int64], now: NDArray[np.int64]) -> Shift:
    """The population stability index of counts by bin, int64 [bins].

    PSI = Σ (q - p) ln(q / p), with p and q the shares of a bin before and now (Siddiqi 2006,
    Credit Risk Scorecards). By its rule of thumb below 0.1 is no change, and above 0.25 a large
    one. Half an event is added to each bin, so that empty ones have a logarithm. Where nothing has
    changed the index is distributed as (1/n + 1/m) χ² with bins - 1 degrees of freedom (Yurdakul
    2018, Statistical properties of population stability index), which says what is noise.
    """
    counts = np.array([before, now], np.float64)
    total = counts.sum(axis=1)
    p, q = (counts + 0.5) / (total + 0.5 * counts.shape[1])[:, None]
    index = float(((q - p) * np.log(q / p)).sum())
    degrees = max(1, counts.shape[1] - 1)
    noise = float((1 / max(1, total[0]) + 1 / max(1, total[1])) * chdtri(degrees, 1 - _CONFIDENCE))
    return Shift(of, index, noise)
