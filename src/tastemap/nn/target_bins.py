"""Bins of a number between which labels differ most."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.nn.piecewise_linear import PiecewiseLinear

__all__ = ["TargetPiecewiseLinear", "tree_edges"]

# Rows of a bin, at least, so that it is more than chance; the paper searches from 1 to 128.
_LEAST = 64


class TargetPiecewiseLinear(PiecewiseLinear):
    """The piecewise linear encoding with the leaves of a decision tree as bins (Gorishniy et al.
    2022, section 3.2.2): for each number a tree that foretells the label by it alone.

    Args:
        features, dim, bins: as of `PiecewiseLinear`.
    """

    def edges(self, known: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        assert labels is not None
        return torch.from_numpy(tree_edges(known.numpy(), labels.cpu().numpy(), self.bins, _LEAST))


def tree_edges(
    numbers: NDArray[np.float32], labels: NDArray[np.float32], bins: int, least: int
) -> NDArray[np.float32]:
    """Where the leaves of a tree begin and end that grows by the split that brings most.

    A split brings what it takes from the squared distances of labels to the mean of their leaf,
    which of labels 0 and 1 is what it takes from the Gini impurity.

    Args:
        numbers: float32 [n], finite and rising, n ≥ 1.
        labels: float32 [n], 1 for a click and 0 for none.
        bins: leaves, at most.
        least: rows of a leaf, at least.

    Returns:
        float32 [≤ bins + 1], rising, from the least number to the greatest.
    """
    sums = np.concatenate([[0.0], np.cumsum(labels, dtype=np.float64)])

    def split(start: int, stop: int) -> tuple[float, int, int, int]:
        """What the best split of some rows brings, below 0 where there is one, and its place."""
        places = np.arange(start + least, stop - least + 1)
        places = places[numbers[places - 1] < numbers[places]] if len(places) else places
        if not len(places):
            return 0.0, start, start, stop
        left, right = sums[places] - sums[start], sums[stop] - sums[places]
        gains = left**2 / (places - start) + right**2 / (stop - places)
        best = int(gains.argmax())
        whole = (sums[stop] - sums[start]) ** 2 / (stop - start)
        return float(whole - gains[best]), int(places[best]), start, stop

    leaves, cuts = [split(0, len(numbers))], list[np.float32]()
    while leaves and len(cuts) < bins - 1:
        gain, place, start, stop = heapq.heappop(leaves)
        # Sums of squares that are equal differ by what rounding leaves.
        if gain > -1e-9 * len(numbers):
            break
        cuts.append((numbers[place - 1] + numbers[place]) / 2)
        for part in ((start, place), (place, stop)):
            heapq.heappush(leaves, split(*part))
    return np.unique(np.array([numbers[0], *cuts, numbers[-1]], np.float32))
