"""Vectors for histories that training has not seen, fitted by torch with all else held fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tastemap.data.histories import Histories
from tastemap.training.schedule import falling

__all__ = ["Losses", "Pairs", "fold_in", "negatives_of"]

# Pairs of an event and a drawn item, over all steps, that stand in memory at a time.
_TILE_PAIRS = 1 << 20


class Pairs(NamedTuple):
    """What a step of a fold-in looks at: all events of its histories, each with drawn items.

    Attributes:
        rows: int64 [m], the history that each event belongs to, ascending.
        positives: int64 [m], the event's item row.
        negatives: int64 [m, n], item rows that the history does not hold; 0 where it holds all.
    """

    rows: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor


Losses = Callable[[torch.Tensor, Pairs], torch.Tensor]
"""The loss of each event, float32 [m], of the histories' vectors, float32 [B, d], and `Pairs`."""


def fold_in(
    histories: Histories,
    losses: Losses,
    *,
    start: torch.Tensor,
    scale: torch.Tensor,
    n_items: int,
    negatives: int,
    seed: int,
    prior: float = 1.0,
    steps: int = 20,
    learning_rate: float = 0.3,
    project: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """The vector p of each history that minimises, by Adam with a falling step size,

        sum over its events of their losses + prior/2 sum_k ((p_k - start_k) / scale_k)².

    With the mean and the standard deviation of the learned users' vectors as `start` and `scale`
    this is the most likely vector of one more user like them (where the losses are negative log
    likelihoods and `prior` is 1), and it needs no scale of its own: steps are in units of `scale`.
    Every step draws new negatives, by a hash of (seed, step, place in the history), and nothing is
    summed over histories, so that a vector does not depend on the other histories of the batch.

    Args:
        histories: [B], without unknown items; the order of events matters only to what is drawn.
        losses: how wrong the vectors are; called under autograd once for each step.
        start: float32 [d], where each vector begins, and stays for a history without events; its
            device is where all happens.
        scale: float32 [d]; a dimension with 0 stays as it begins.
        n_items: item rows, with row 0, which is never drawn.
        negatives: n, drawn uniformly for each event in each step; 0 for none.
        seed: of the draws.
        prior: weight of the distance from `start` against the events.
        steps: how many.
        learning_rate: of the first step; a step moves by at most about that many `scale`s.
        project: float32 [B, d] to the same, where vectors have to stay in some set; after a step.

    Returns:
        float32 [B, d], without gradients.
    """
    found = start.detach().repeat(len(histories), 1)
    pull = torch.where(scale > 0, prior / scale.square().clamp(min=1e-30), torch.zeros_like(scale))
    for first, last in _tiles(histories, _TILE_PAIRS // (steps * max(negatives, 1))):
        tile = histories.slice(first, last)
        rows = torch.from_numpy(tile.rows_of_events().astype(np.int64)).to(start.device)
        positives = torch.from_numpy(tile.items.astype(np.int64)).to(start.device)
        drawn = torch.from_numpy(negatives_of(tile, n_items, steps, negatives, seed))
        vectors = found[first:last]
        mean, square = torch.zeros_like(vectors), torch.zeros_like(vectors)
        for step, of_step in enumerate(drawn.to(start.device), start=1):
            with torch.enable_grad():
                at = vectors.clone().requires_grad_()
                loss = losses(at, Pairs(rows, positives, of_step)).sum()
                (gradient,) = torch.autograd.grad(loss, at)
            gradient = torch.addcmul(gradient, pull, vectors - start)
            mean.lerp_(gradient, 1 - _BETA1)
            square.lerp_(gradient.square(), 1 - _BETA2)
            rate = falling(learning_rate, step - 1, steps) / (1 - _BETA1**step)
            length = square.sqrt().div_((1 - _BETA2**step) ** 0.5).add_(1e-12)
            vectors.sub_(rate * scale * mean / length)
            if project is not None:
                vectors.copy_(project(vectors))
    return found


_BETA1, _BETA2 = 0.9, 0.99


def _tiles(histories: Histories, events: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows of at most so many events, or of one row, leaving out rows without any."""
    first = 0
    while first < len(histories):
        limit = histories.offsets[first] + max(events, 1)
        last = max(int(np.searchsorted(histories.offsets, limit, side="right")) - 1, first + 1)
        if histories.offsets[last] > histories.offsets[first]:
            yield first, last
        first = last


def negatives_of(
    histories: Histories, n_items: int, steps: int, n: int, seed: int
) -> NDArray[np.int64]:
    """Items that histories do not hold, drawn uniformly by a hash of where they are drawn for.

    Args:
        histories: [B] with m events, without unknown items.
        n_items: item rows; row 0 is never drawn.
        steps, n: draws for each event.
        seed: of the hash.

    Returns:
        int64 [steps, m, n]; 0 where a history holds all items.
    """
    rows = histories.rows_of_events().astype(np.int64)
    held = np.unique(rows * n_items + histories.items)
    owner = held // n_items
    offsets = np.searchsorted(owner, np.arange(len(histories) + 1))
    # With s_k the held items of a row in order, the items not held are numbered 0, 1, …, and the
    # one of number r is r + 1 + (how many s_k - 1 - k are at most r): one search, none in vain.
    place = np.arange(len(held)) - offsets[owner]
    keys = held - 1 - place
    free = n_items - 1 - np.diff(offsets)

    positions = np.arange(histories.n_events) - histories.offsets[rows]
    counters = np.arange(steps)[:, None, None] * (1 << 40) + positions[:, None] * n + np.arange(n)
    # The upper half of the hash times the count, halved again, is uniform below the count.
    number = _hashed(counters, seed) >> np.uint64(32)
    number *= free[rows].astype(np.uint64)[:, None]
    number >>= np.uint64(32)
    drawn = number.astype(np.int64)
    base = (rows * n_items)[:, None]
    drawn += np.searchsorted(keys, drawn + base, side="right") - offsets[rows][:, None] + 1
    drawn[:, free[rows] == 0] = 0
    return drawn


def _hashed(counters: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea & Flood 2014, Fast Splittable Pseudorandom Number Generators)."""
    with np.errstate(over="ignore"):
        x = counters.astype(np.uint64)
        x += np.uint64(seed % (1 << 64)) * np.uint64(0xD1342543DE82EF95)
        x *= np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x
