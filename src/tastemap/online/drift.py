"""Whether what comes in and goes out is still like what did right after a release was loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.online.stability import stability

__all__ = ["Drift", "Drifts"]


class Drift:
    """Compares the newest values with the first ones. One thread adds, any may read.

    Args:
        values: how many the first ones are, and how many a window of newest ones is.
        bins: of equally many of the first values each.

    Raises:
        ParameterError: fewer than two bins, or fewer than ten values a bin.
    """

    def __init__(self, *, values: int = 5_000, bins: int = 10) -> None:
        if bins < 2 or values < 10 * bins:
            raise ParameterError(
                f"drift needs two bins and ten values a bin at least; got {bins} and {values}"
            )
        self._values, self._bins = values, bins
        self._held: list[NDArray[np.floating[Any]]] = []
        self._n_held = 0
        self._edges: NDArray[np.float64] | None = None
        self._before = np.zeros(bins, np.int64)
        self._window = np.zeros(bins, np.int64)

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Takes values, [n], into account; those that are not finite are left out. They are kept,
        and counted by the window, so that a request pays next to nothing."""
        self._held.append(values)
        self._n_held += len(values)
        if self._n_held >= self._values:
            window = np.concatenate(self._held)[: self._values]
            self._held, self._n_held = [], 0
            self._take(window[np.isfinite(window)])

    def _take(self, window: NDArray[np.floating[Any]]) -> None:
        if len(window) == 0:
            return
        if self._edges is not None:
            self._window = self._counts(window, self._edges)
            return
        # Equal values make equal edges; bins between them stay empty.
        edges = np.quantile(window.astype(np.float64), np.linspace(0, 1, self._bins + 1)[1:-1])
        self._before = self._counts(window, edges)
        self._edges = edges

    def _counts(
        self, values: NDArray[np.floating[Any]], edges: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        return np.bincount(edges.searchsorted(values, "right"), minlength=self._bins)

    def index(self) -> float | None:
        """The population stability index of the last full window against the first values; None
        before there is one."""
        return stability("", self._before, self._window).index if self._window.any() else None


class Drifts:
    """The drift of one release at work.

    Args:
        item_counts: int [item rows], events of each item in the release's data.

    Attributes:
        scores: of the items of answers.
        inputs: log2(1 + n) of the items of the histories that were asked about, with n events.
    """

    def __init__(self, item_counts: NDArray[np.integer[Any]]) -> None:
        self.scores = Drift()
        self.inputs = Drift()
        self._popularity = np.log2(1 + item_counts).astype(np.float32)

    def indices(self) -> dict[str, float | None]:
        """The indices by name."""
        return {"scores": self.scores.index(), "inputs": self.inputs.index()}

    def add(self, items: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
        """Takes a batch of answers into account.

        Args:
            items: item rows of the histories, [n].
            scores: of the answers, [m].
        """
        self.inputs.add(self._popularity[items])
        self.scores.add(scores)
