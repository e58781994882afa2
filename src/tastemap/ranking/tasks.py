"""Several things that are foretold of a row at once, and what each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tastemap.errors import ParameterError, did_you_mean

__all__ = ["Tasks"]

# Probabilities stay so far from 0 and 1 that their log-odds are numbers.
_LEAST = 1e-12


@dataclass(frozen=True)
class Tasks:
    """What is foretold of a row, such as a click, a like, and the share that is watched.

    Attributes:
        names: of the tasks.
        weights: what each counts, in the loss and in the score; above 0, with the sum 1.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], weights: Mapping[str, float] | None = None) -> Self:
        """Tasks with weights in any unit; one that is not named counts 1.

        Raises:
            ParameterError: no task, one that is there twice, a weight of none of them, or one that
                is not above 0.
        """
        if not names or len(set(names)) < len(names):
            raise ParameterError(
                f"give the label of each task once and at least one, got {list(names)}"
            )
        given = dict(weights or {})
        for name, weight in given.items():
            if name not in names:
                raise ParameterError(
                    f"weights: there is no label {name!r}{did_you_mean(name, names)}"
                )
            if not 0 < weight < np.inf:
                raise ParameterError(f"weights: that of {name!r} must be above 0, got {weight!r}")
        counts = [float(given.get(name, 1.0)) for name in names]
        return cls(tuple(names), tuple(each / sum(counts) for each in counts))

    def __len__(self) -> int:
        return len(self.names)

    def combined(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The log-odds, float32 [n], of the weighted mean of the probabilities of all tasks, whose
        log-odds are [n, tasks]."""
        mean = expit(scores.astype(np.float64)) @ np.array(self.weights)
        odds: NDArray[np.float64] = logit(np.clip(mean, _LEAST, 1 - _LEAST))
        return odds.astype(np.float32)

    def described(self) -> dict[str, list[Any]]:
        """What a manifest keeps; the constructor takes it back, as tuples."""
        return {"names": list(self.names), "weights": list(self.weights)}
